//! The command line: files checked, a running switch shown and changed, exit codes.

mod command;

use command::{Folder, Said, TWO_PORTS, http};
use rigswitch_dataplane::drops::DropReason;

#[test]
fn a_valid_file_is_said_to_be_valid() {
    let folder = Folder::new("valid");
    folder.write("rig.toml", TWO_PORTS);
    assert_eq!(folder.ask("check rig.toml"), "rig.toml: valid: 2 ports, 1 bridge, 0 cross-connects\n");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let folder = Folder::new("wrong");
    folder.write("rig.toml", "[[port]]\nname = \"p0\"\nxpd = \"eth0\"\nmemory = true\n");
    let err = "rig.toml:3:1: unknown key `xpd` in [[port]]\n  3 | xpd = \"eth0\"\n    | ^^^\n    \
               = did you mean `xdp`?\n";
    let first_lines = [
        (
            "[[bridge]]\nname = \"br0\"\n[[bridge.port]]\ndevice = \"p9\"",
            "rig.toml:4:10: there is no port `p9`",
        ),
        (
            "[[port]]\nname=\"p0\"\nmemory=true\n[[bridge]]\nname=\"br0\"\nport=[{device=\"p0\"},{device=\"p0\"}]",
            "rig.toml:6:29: `p0` is already a port of br0: line 6 says so",
        ),
        (
            "[[port]]\nname=\"p0\"\nmemory=true\n[[bridge]]\nname=\"br0\"\nport=[{device=\"p0\"}]\n\
             fdb=[{mac=\"02:zz\",device=\"p0\"}]",
            "rig.toml:7:11: `02:zz` is not a MAC address",
        ),
    ];
    for words in ["check rig.toml", "run -c rig.toml"] {
        assert_eq!(folder.say(words), Said { code: Some(1), out: String::new(), err: err.into() });
    }
    for (text, line) in first_lines {
        folder.write("rig.toml", text);
        let said = folder.say("run -c rig.toml");
        assert_eq!((said.code, said.err.lines().next()), (Some(1), Some(line)));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = Folder::new("nofile");
    for words in ["check none.toml", "run -c none.toml"] {
        let said = folder.say(words);
        assert_eq!((said.code, &*said.err), (Some(1), "none.toml: No such file or directory (os error 2)\n"));
    }
}

#[test]
fn words_that_mean_nothing_are_usage_errors() {
    let folder = Folder::new("usage");
    for words in ["", "shwo", "show everything", "fdb add", "fdb add 02:00:00:00:00:01 dev", "show ports -p"]
    {
        let said = folder.say(words);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{words}: {}", said.err);
        assert!(!said.err.is_empty());
    }
}

#[test]
fn no_switch_is_one_clear_line() {
    let folder = Folder::new("noswitch");
    let socket = folder.socket();
    let line = format!(
        "rigswitch: no switch answers on {}: start one with `rigswitch run`, or name its socket with --socket\n",
        socket.display()
    );
    let said = folder.say("show ports");
    assert_eq!((said.code, said.err), (Some(1), line));
}

#[test]
fn everything_is_shown_in_words_and_in_json() {
    let folder = Folder::new("show");
    let _switch = folder.start(TWO_PORTS);

    let port = |name| {
        format!(
            r#"{{"ifname":"{name}","kind":"memory","operstate":"UP","mtu":1500,"address":"00:00:00:00:00:00","#
        ) + r#""rx":{"packets":0,"bytes":0,"dropped":0},"tx":{"packets":0,"bytes":0,"dropped":0},"drops":{}}"#
    };
    assert_eq!(folder.ask("show ports -j"), format!("[{},{}]\n", port("p0"), port("p1")));
    let entry = r#"{"mac":"02:00:00:00:00:01","ifname":"p0","flags":[],"master":"br0","state":"static"}"#;
    assert_eq!(folder.ask("show fdb -j"), format!("[{entry}]\n"));
    assert!(folder.ask("show fdb -jp").starts_with("[\n  {\n    \"mac\": \"02:00:00:00:00:01\",\n"));
    assert!(folder.ask("show drops -j").contains(r#""balanced":true"#));
    assert!(folder.ask("show workers -j").contains(r#""ports":["p0","p1"]"#));

    assert!(folder.ask("show ports").starts_with("PORT  KIND    STATE   MTU  ADDRESS"));
    assert!(folder.ask("show fdb").contains("\n02:00:00:00:00:01  p0    br0     static\n"));
    assert!(folder.ask("show drops").ends_with("every frame and every copy is accounted for\n"));
    assert!(folder.ask("show workers").contains(" p0 p1\n"));
}

#[test]
fn the_configuration_shown_is_a_file_that_gives_the_same() {
    let folder = Folder::new("config");
    let _switch = folder.start(TWO_PORTS);
    folder.ask("fdb add 02:00:00:00:00:02 dev p1 master static");
    let shown = folder.ask("show config");
    assert!(
        shown.contains("[[bridge.fdb]]\nmac = \"02:00:00:00:00:02\"\ndevice = \"p1\"\nstate = \"static\"\n")
    );
    folder.write("shown.toml", &shown);
    folder.ask("check shown.toml");
    assert!(
        folder
            .ask("show config -j")
            .contains(r#"{"mac":"02:00:00:00:00:02","device":"p1","state":"static"}"#)
    );
}

#[test]
fn the_forwarding_database_is_changed_in_bridge_8s_words() {
    let folder = Folder::new("fdb");
    let _switch = folder.start(TWO_PORTS);
    let refused = |words: &str| {
        let said = folder.say(words);
        assert_eq!(said.code, Some(1), "{words}: {said:?}");
        said.err.trim_end().to_owned()
    };
    let states = || -> Vec<(String, String, String)> {
        let entries: serde_json::Value = serde_json::from_str(&folder.ask("show fdb -j")).unwrap();
        let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let row = |e| (text(e, "mac")[15..].to_owned(), text(e, "ifname"), text(e, "state"));
        entries.as_array().unwrap().iter().map(row).collect()
    };
    let row = |mac: &str, port: &str, state: &str| (mac.to_owned(), port.to_owned(), state.to_owned());

    folder.ask("fdb add 02:00:00:00:00:02 dev p0 master");
    folder.ask("fdb add 02:00:00:00:00:03 dev p1 master dynamic");
    let before = vec![row("01", "p0", "static"), row("02", "p0", "permanent"), row("03", "p1", "")];
    assert_eq!(states(), before);
    assert_eq!(
        refused("fdb add 02:00:00:00:00:01 dev p0 static"),
        "rigswitch: 02:00:00:00:00:01 is in br0 already, behind p0: `fdb replace` puts another in its place"
    );
    assert_eq!(
        refused("fdb append 02:00:00:00:00:01 dev p1 static"),
        "rigswitch: 02:00:00:00:00:01 is behind p0 already, and a station is behind one port: `fdb replace` moves it"
    );
    assert_eq!(
        refused("fdb add 01:00:5e:00:00:01 dev p1"),
        "rigswitch: `01:00:5e:00:00:01` is not the address of one station: give six octets in hex, the first of them \
         even, not all zero"
    );
    assert_eq!(
        refused("fdb add 02:00:00:00:00:09 dev p9"),
        "rigswitch: p9 is not a port of a bridge: `rigswitch show config` lists those that are"
    );
    assert_eq!(
        refused("fdb del 02:00:00:00:00:01 dev p1"),
        "rigswitch: br0 has no entry of 02:00:00:00:00:01 behind p1: `rigswitch show fdb` lists those there are"
    );
    assert_eq!(
        refused("fdb add 02:00:00:00:00:09 dev p1 vni 10"),
        "rigswitch: p1 is no VXLAN device, and only those have entries with far ends: `rigswitch show tunnels` lists them"
    );
    assert_eq!(
        refused("fdb add 02:00:00:00:00:09 dev p1 vlan 10"),
        "rigswitch: br0 does not filter by VLAN, and its entries are of none: leave the VLAN out, or `rigswitch bridge set br0 \
         vlan_filtering true`"
    );
    assert_eq!(states(), before, "what is refused changes nothing");

    folder.ask("fdb append 02:00:00:00:00:01 dev p0 static");
    folder.ask("fdb replace 02:00:00:00:00:01 dev p1 master static");
    folder.ask("fdb del 02:00:00:00:00:02 dev p0");
    assert_eq!(states(), [row("01", "p1", "static"), row("03", "p1", "")]);
    assert_eq!(folder.ask("fdb flush dev br0 brport p0"), "0 entries flushed\n");
    assert_eq!(folder.ask("fdb flush dev br0 nostatic"), "1 entries flushed\n");
    assert_eq!(states(), [row("01", "p1", "static")]);
    assert_eq!(folder.ask("fdb flush dev p1 master"), "1 entries flushed\n");
    assert!(states().is_empty());
    assert_eq!(
        refused("fdb flush dev br9"),
        "rigswitch: br9 is neither a bridge nor a port of one: `rigswitch show config` lists them"
    );
}

#[test]
fn entries_have_every_flag_of_bridge_8() {
    let folder = Folder::new("flags");
    let _switch = folder.start(TWO_PORTS);
    folder.ask("fdb flush dev br0");
    folder.ask("fdb add 02:00:00:00:00:02 dev p0 master static sticky");
    folder.ask("fdb add 02:00:00:00:00:03 dev p1 master extern_learn");
    folder.ask("fdb add 02:00:00:00:00:04 dev p1 master use");
    let shown = |mac: &str, port: &str, more: &str| {
        format!(r#"{{"mac":"02:00:00:00:00:{mac}","ifname":"{port}",{more},"master":"br0","state":"#)
    };
    let all = [
        shown("02", "p0", r#""flags":["sticky"]"#) + "\"static\"}",
        shown("03", "p1", r#""flags":["extern_learn"]"#) + "\"\"}",
        shown("04", "p1", r#""flags":[]"#) + "\"\"}",
    ];
    assert_eq!(folder.ask("show fdb -j"), format!("[{}]\n", all.join(",")));
    assert!(folder.ask("show fdb").contains("\n02:00:00:00:00:02  p0    br0     static sticky\n"));
    let timed = folder.ask("show fdb -js");
    assert!(timed.contains(r#""ifname":"p0","used":"#) && timed.contains(r#","updated":"#), "{timed}");
    assert_eq!(folder.ask("fdb get 2:0:0:0:0:2 br br0 -j"), format!("[{}]\n", all[0]));
    assert_eq!(folder.ask("fdb get 2:0:0:0:0:3 brport p1 -j"), format!("[{}]\n", all[1]));
    let refused = |words: &str| {
        let said = folder.say(words);
        assert_eq!(said.code, Some(1), "{words}: {said:?}");
        said.err
    };
    assert_eq!(
        refused("fdb get 2:0:0:0:0:3 brport p0"),
        "rigswitch: there is no entry of 02:00:00:00:00:03 in p0: `rigswitch show fdb` lists those there are\n"
    );
    assert_eq!(
        refused("fdb add 02:00:00:00:00:05 dev p0 permanent sticky"),
        "rigswitch: 02:00:00:00:00:05: a permanent entry is not sticky, for it never moves anyway: say static or dynamic\n"
    );
    assert_eq!(folder.ask("fdb flush dev br0 noextern_learn nosticky"), "1 entries flushed\n");
    assert_eq!(folder.ask("fdb flush dev br0 sticky"), "1 entries flushed\n");
    assert_eq!(folder.ask("fdb flush dev br0"), "1 entries flushed\n");
}

#[test]
fn neighbors_are_told_of_in_ip_neighbours_words() {
    let folder = Folder::new("neighbor");
    let _switch = folder.start(TWO_PORTS);
    folder.ask("neighbor add 10.0.0.1 lladdr 02:00:00:00:00:01 dev br0 nud permanent");
    folder.ask("neighbor replace fd00:0::1 dev br0 lladdr 02:00:00:00:00:02");
    let view = |dst, mac| format!(r#"{{"dst":"{dst}","dev":"br0","lladdr":"{mac}","state":["PERMANENT"]}}"#);
    let both = [view("10.0.0.1", "02:00:00:00:00:01"), view("fd00::1", "02:00:00:00:00:02")].join(",");
    assert_eq!(folder.ask("show neighbors -j"), format!("[{both}]\n"));
    assert!(
        folder.ask("show neighbors").contains("\n10.0.0.1  br0           02:00:00:00:00:01  PERMANENT\n")
    );
    let shown = folder.ask("show config");
    assert!(shown.contains("[[neighbor]]\ndevice = \"br0\"\naddress = \"fd00::1\"\n"), "{shown}");
    folder.ask("neighbor del 10.0.0.1 dev br0");
    let said = folder.say("neighbor del 10.0.0.1 dev br0");
    let refused =
        "rigswitch: 10.0.0.1 is no neighbour of br0: `rigswitch show neighbors` lists those there are\n";
    assert_eq!((said.code, &*said.err), (Some(1), refused));
}

#[test]
fn a_port_that_may_not_learn_takes_no_entry_that_ages() {
    let folder = Folder::new("unlearning");
    let blocked = TWO_PORTS.replace("{ device = \"p1\" }", "{ device = \"p1\", state = \"blocking\" }");
    let _switch = folder.start(&blocked);
    let said = folder.say("fdb add 02:00:00:00:00:02 dev p1 master dynamic");
    let refused = "rigswitch: 02:00:00:00:00:02: p1 is not in a state to learn, and takes no entry that ages: say static, \
                   or see to its carrier and state\n";
    assert_eq!((said.code, &*said.err), (Some(1), refused));
    folder.ask("fdb add 02:00:00:00:00:02 dev p1 master static");
}

#[test]
fn metrics_have_their_names_types_and_labels() {
    let folder = Folder::new("metrics");
    let _switch = folder.start(TWO_PORTS);
    let answer = http(&folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    for line in [
        "# TYPE rigswitch_receive_packets_total counter",
        "rigswitch_receive_packets_total{device=\"p0\"} 0",
        "rigswitch_transmit_bytes_total{device=\"p1\"} 0",
        "# TYPE rigswitch_drops_total counter",
        "rigswitch_fdb_entries{bridge=\"br0\",state=\"static\"} 1",
        "rigswitch_fdb_n_learned{bridge=\"br0\"} 0",
        "rigswitch_fdb_learned_total 0",
        "rigswitch_fdb_limited_total 0",
        "rigswitch_fdb_moved_total 0",
        "rigswitch_fdb_expired_total 0",
        "# TYPE rigswitch_worker_busy_ratio gauge",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line} is not in\n{answer}");
    }
}

#[test]
fn metrics_say_of_every_reason_what_it_means_how_it_arises_and_what_to_do() {
    let folder = Folder::new("help");
    let _switch = folder.start(TWO_PORTS);
    let answer = http(&folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    let helps: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    let help = helps.iter().find_map(|help| help.strip_prefix("rigswitch_drops_total ")).unwrap();
    for reason in DropReason::ALL {
        let (name, meaning) = (reason.name(), reason.meaning());
        let (cause, remedy) = (reason.cause(), reason.remedy());
        let line = format!("{name}: {meaning} How it arises: {cause} What to do: {remedy}");
        assert!(help.split("\\n").any(|found| found == line), "{line} is not in\n{help}");
        let quoted = |text: &str| text.replace('"', "\\\"");
        let info = format!(
            "rigswitch_drop_reason_info{{reason=\"{name}\",meaning=\"{}\",cause=\"{}\",remedy=\"{}\"}} 1",
            quoted(meaning),
            quoted(cause),
            quoted(remedy)
        );
        assert!(answer.lines().any(|found| found == info), "{info} is not in\n{answer}");
    }
    let mut families: Vec<_> = helps.iter().map(|help| help.split(' ').next().unwrap()).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "one help text a family");
}

#[test]
fn completions_are_printed() {
    let folder = Folder::new("completions");
    assert!(folder.ask("completions bash").contains("_rigswitch()"));
}
