//! `rigswitch bench`, as a user runs it. What is measured is measured for a moment only, and no figure is judged.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use command::Folder;

#[test]
fn what_is_no_report_is_not_compared() {
    let folder = Folder::new("bench-compare");
    folder.write("a.json", "{\"format\":1}");
    let said = folder.say("bench compare a.json b.json");
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.starts_with("rigswitch: a.json is no report of `rigswitch bench`"), "{}", said.err);
    let said = folder.say("bench compare b.json a.json");
    assert_eq!(said.err, "rigswitch: b.json: No such file or directory (os error 2)\n");
    assert_eq!(said.code, Some(1));
    let said = folder.say("bench compare --report a.json a.json a.json");
    assert_eq!(said.code, Some(1));
    assert!(said.err.starts_with("rigswitch: a.json: "), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1);
}
