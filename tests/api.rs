//! The socket: what it refuses, what bounds it, and who may change the switch.

mod command;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use command::{Folder, PATIENCE, TWO_PORTS, http, is_root, said, skipped};

#[test]
fn requests_that_cannot_be_answered_say_why() {
    let folder = Folder::new("http");
    let _switch = folder.start(TWO_PORTS);
    let post = |target: &str, body: &str| {
        format!("POST {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let long = "x".repeat(1 << 17);
    for (request, status, error) in [
        ("GET /v1/nothing HTTP/1.0\r\n\r\n".to_owned(), "404", "there is no /v1/nothing in this version"),
        ("DELETE /v1/ports HTTP/1.0\r\n\r\n".to_owned(), "405", "DELETE /v1/ports: it takes GET"),
        (post("/v1/fdb", "{"), "400", "the body: EOF while parsing"),
        (
            post("/v1/fdb", r#"{"mac":"02:00:00:00:00:07","ifname":"p0","colour":1}"#),
            "400",
            "unknown field `colour`",
        ),
        (
            post("/v1/fdb", r#"{"mac":"02:00:00:00:00:07","ifname":"p0","vni":1}"#),
            "409",
            "p0 is no VXLAN device",
        ),
        (
            post("/v1/fdb", r#"{"mac":"02:00:00:00:00:07","ifname":"p7"}"#),
            "409",
            "p7 is not a port of a bridge",
        ),
        (
            post("/v1/fdb", r#"{"mac":"02:00:00:00:00:07","ifname":"p0","vlan":1}"#),
            "409",
            "br0 does not filter by VLAN",
        ),
        (post("/v1/fdb", &long), "413", "the body: length limit exceeded"),
    ] {
        let answer = http(&folder.socket(), &request);
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{answer}");
        assert!(answer.contains(error), "{error}: {answer}");
    }
    assert!(http(&folder.socket(), "\u{1}\u{2}noise\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(folder.ask("show fdb -j").contains("02:00:00:00:00:01"));
}

#[test]
fn keep_alive_serves_one_request_after_the_other() {
    let folder = Folder::new("alive");
    let _switch = folder.start(TWO_PORTS);
    let both = "GET /v1/ports HTTP/1.1\r\nHost: rig\r\n\r\nGET /v1/fdb HTTP/1.1\r\nHost: rig\r\nConnection: close\r\n\r\n";
    assert_eq!(http(&folder.socket(), both).matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn a_body_that_nobody_wants_is_read_and_the_connection_goes_on() {
    let folder = Folder::new("unwanted");
    let _switch = folder.start(TWO_PORTS);
    let mut stream = BufReader::new(UnixStream::connect(folder.socket()).unwrap());
    stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let long = "x".repeat(1 << 17);
    for (request, body, status, ends) in [
        ("DELETE /v1/explain/next", "{}", "405", false),
        ("GET /v1/nothing", "{}", "404", false),
        ("GET /v1/ports", "{}", "200", false),
        ("POST /v1/plan?nothing=1", "{}", "400", false),
        // Of what is too long for anything the rest is not waited for, and that is said.
        ("GET /v1/ports", &long, "200", true),
    ] {
        let head = format!("{request} HTTP/1.1\r\nHost: rig\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        // As clients do: the body on its own. A switch that has had enough may close meanwhile.
        let _ = stream.get_mut().write_all(body.as_bytes());
        let mut answer = Vec::new();
        while stream.read_until(b'\n', &mut answer).unwrap() > 2 {}
        let head = String::from_utf8(answer).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert_eq!(head.contains("connection: close\r\n"), ends, "{request}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    }
}

#[test]
fn clients_that_never_finish_keep_nobody_waiting() {
    let folder = Folder::new("slow");
    let _switch = folder.start(TWO_PORTS);
    // As many connections as there may be, and more, each stopped in the middle of a request.
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = UnixStream::connect(folder.socket()).unwrap();
            stream.write_all(b"POST /v1/fdb HTTP/1.1\r\nHost: rig\r\nContent-Length: 100\r\n\r\n{").unwrap();
            stream
        })
        .collect();
    assert!(folder.ask("show ports -j").contains("p0"));
    drop(slow);
}

#[test]
fn a_group_member_may_look_and_not_touch() {
    const NOBODY: u32 = 65_534;
    if !is_root() {
        return skipped("a_group_member_may_look_and_not_touch", "only root can be somebody else");
    }
    let folder = Folder::new("peer");
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let _switch = folder.start(TWO_PORTS);
    let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // Where the build is may be closed to others.
    let program = folder.path("rigswitch");
    fs::copy(env!("CARGO_BIN_EXE_rigswitch"), &program).unwrap();
    let as_nobody = |words: &str| {
        let mut command = std::process::Command::new(&program);
        command.arg("--socket").arg(folder.socket()).args(words.split(' '));
        said(command.uid(NOBODY).gid(NOBODY).current_dir("/"))
    };

    let denied = as_nobody("show fdb -j");
    let line = format!(
        "rigswitch: {}: permission denied: ask as root or as a member of the socket's group\n",
        folder.socket().display()
    );
    assert_eq!((denied.code, denied.err), (Some(1), line));

    std::os::unix::fs::chown(folder.socket(), None, Some(NOBODY)).unwrap();
    assert!(as_nobody("show fdb -j").out.contains("02:00:00:00:00:01"));
    for words in ["fdb add 02:00:00:00:00:05 dev p0", "fdb del 02:00:00:00:00:01 dev p0", "fdb flush dev br0"]
    {
        let refused = as_nobody(words);
        let line = "rigswitch: changing the switch is for root and the user it runs as: ask as one of them\n";
        assert_eq!((refused.code, &*refused.err), (Some(1), line), "{words}");
    }
    let refused = as_nobody("capture -c 1");
    let line = "rigswitch: capturing shows what others send: it is for root and the user that the switch runs as: ask as one of them\n";
    assert_eq!((refused.code, &*refused.err), (Some(1), line));
    assert!(folder.ask("show fdb -j").contains("02:00:00:00:00:01"));
}
