//! Plans, edits and files that are read again, from the command line: what is told, done and refused.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::process::Stdio;

use command::{Folder, TWO_PORTS, http};

fn refused(folder: &Folder, words: &str) -> String {
    let said = folder.say(words);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{words}");
    said.err
}

#[test]
fn what_was_done_by_hand_is_in_the_plan_and_gone_when_the_file_is_applied() {
    let folder = Folder::new("byhand");
    let _switch = folder.start(TWO_PORTS);
    assert_eq!(folder.ask("plan rig.toml"), "no changes\n");
    folder.ask("port add p2 memory on mtu 9000 master br0");
    folder.ask("bridge add br1");
    folder.ask("bridge set br0 ageing_time 10s");
    folder.ask("port set p1 isolated on");
    folder.ask("fdb add 02:00:00:00:00:07 dev p2 master static");
    folder.ask("fdb add 02:00:00:00:00:08 dev p2 master dynamic");
    let plan = "- port p2\n- bridge br1\n~ bridge br0: ageing_time 10s → 300s\n- bridge br0 port p2\n\
                ~ bridge br0 port p1: isolated true → unset\n- bridge br0 fdb 02:00:00:00:00:07\n";
    assert_eq!(folder.ask("plan rig.toml"), plan);
    let json = folder.ask("plan rig.toml -j");
    assert!(json.starts_with(r#"[{"action":"remove","object":"port","name":"p2"},"#), "{json}");

    folder.write("shown.toml", &folder.ask("show config"));
    assert_eq!(folder.ask("plan shown.toml"), "no changes\n");
    assert_eq!(folder.ask("apply shown.toml"), "no changes\n");
    assert!(folder.ask("show fdb -j").contains("02:00:00:00:00:08"), "what ages is state, and kept");

    assert_eq!(folder.ask("apply rig.toml"), plan);
    assert_eq!(folder.ask("plan rig.toml"), "no changes\n");
    let fdb = folder.ask("show fdb -j");
    assert!(fdb.contains("02:00:00:00:00:01") && !fdb.contains("02:00:00:00:00:08"), "{fdb}");

    folder.ask("port set p1 nomaster");
    folder.ask("port del p0");
    assert_eq!(
        folder.ask("plan rig.toml"),
        "+ port p0: memory true\n+ bridge br0 port p0\n+ bridge br0 port p1\n\
         + bridge br0 fdb 02:00:00:00:00:01: device p0, state static\n"
    );
    assert_eq!(refused(&folder, "port set p9 mtu 1500"), {
        "rigswitch: there is no port p9: `rigswitch show config` lists those there are\n"
    });
    assert_eq!(refused(&folder, "bridge set br0 ageing_tim 3"), {
        "rigswitch: unknown key `ageing_tim` in [[bridge]]: did you mean `ageing_time`?\n"
    });
    assert_eq!(folder.say("port set p1 mtu").code, Some(2));
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_as_check_tells_it() {
    let folder = Folder::new("broken");
    let _switch = folder.start(TWO_PORTS);
    let (config, fdb) = (folder.ask("show config"), folder.ask("show fdb -j"));
    let text = format!("{TWO_PORTS}[[port]]\nname = \"p2\"\nmemory = true\nmut = 9000\n");
    folder.write("broken.toml", &text);
    let golden = folder.say("check broken.toml");
    assert!(
        golden.err.starts_with("broken.toml:") && golden.err.contains("did you mean `mtu`?"),
        "{golden:?}"
    );
    for words in ["plan broken.toml", "apply broken.toml"] {
        assert_eq!(folder.say(words), golden);
    }
    folder.write("frozen.toml", &TWO_PORTS.replace("[switch]", "[switch]\nworkers = 2"));
    for words in ["plan frozen.toml", "apply frozen.toml"] {
        let line = "rigswitch: `workers` in [switch] is 1 and would be 2: it cannot change while the switch runs; restore it, \
                    or stop the switch and start it with this file\n";
        assert_eq!(refused(&folder, words), line);
    }
    folder.write("absent.toml", &format!("{TWO_PORTS}[[port]]\nname = \"p2\"\nxdp = \"rsw-none0\"\n"));
    let line = refused(&folder, "apply absent.toml");
    assert!(
        line.starts_with("rigswitch: port p2: ") && line.ends_with(": make it first, or name another\n"),
        "{line}"
    );
    assert_eq!((folder.ask("show config"), folder.ask("show fdb -j")), (config, fdb));
    let post = |target: &str, body: &str| {
        let head = format!("POST {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        http(&folder.socket(), &(head + body))
    };
    let answer = post("/v1/apply", "[[prot]]");
    assert!(
        answer.starts_with("HTTP/1.0 400 ") && answer.contains("body:1:3: unknown key `prot`"),
        "{answer}"
    );
    assert!(post("/v1/plan", TWO_PORTS).ends_with("\r\n\r\n[]"));
    assert!(post("/v1/plan", &"#".repeat((8 << 20) + 1)).starts_with("HTTP/1.0 413 "));
}

#[test]
fn a_hang_up_has_the_file_read_again() {
    let folder = Folder::new("reread");
    let mut switch = folder.start(TWO_PORTS);
    let mut reload = |text: &str| {
        folder.write("rig.toml", text);
        switch.signal("HUP");
        let first = switch.news();
        let micros =
            first.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the protocol of sd_notify(3)");
        assert!(micros.parse::<u64>().unwrap() > 0);
        assert_eq!(switch.news(), "READY=1");
    };
    reload(&format!("{TWO_PORTS}[[port]]\nname = \"p2\"\nmemory = true\n"));
    assert!(folder.ask("show ports -j").contains("p2"));
    reload("[[prot]]");
    assert!(folder.ask("show ports -j").contains("p2"), "a broken file changes nothing");
    reload(TWO_PORTS);
    assert!(!folder.ask("show ports -j").contains("p2"));
    switch.signal("TERM");
    assert_eq!(switch.news(), "STOPPING=1");
    assert_eq!(switch.wait().code(), Some(0));
}

#[test]
fn a_file_may_come_by_a_pipe_and_is_read_once_and_not_for_ever() {
    let folder = Folder::new("piped");
    let _switch = folder.start(TWO_PORTS);
    let more = format!("{TWO_PORTS}[[port]]\nname = \"p2\"\nmemory = true\n");
    folder.write("more.toml", &more);
    let mut apply = folder.command(&["apply", "/dev/stdin"]);
    let cat = std::process::Command::new("cat").arg(folder.path("more.toml")).stdout(Stdio::piped()).spawn();
    let mut cat = cat.unwrap();
    apply.stdin(cat.stdout.take().unwrap());
    let said = command::said(&mut apply);
    assert!(cat.wait().unwrap().success());
    assert_eq!((said.code, said.out.as_str()), (Some(0), "+ port p2: memory true\n"), "{said:?}");
    // More than fits the socket is refused by the switch, in whose words it is told.
    folder.write("long.toml", &format!("{TWO_PORTS}{}", "# nothing\n".repeat(900_000)));
    assert_eq!(refused(&folder, "apply long.toml"), "rigswitch: the body: length limit exceeded\n");
    let endless = "/dev/zero: larger than 64 MiB\n";
    assert_eq!(
        (folder.say("check /dev/zero").code, folder.say("check /dev/zero").err),
        (Some(1), endless.into())
    );
}
