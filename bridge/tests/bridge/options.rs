//! The command line: errors name the option and say what to do.

use crate::support::Bridge;

#[test]
fn errors_name_the_option() {
    let rows: [(&[&str], [&str; 2]); 6] = [
        (&["--call-timeout", "0"], ["--call-timeout", "expected a number of seconds greater than 0"]),
        (&["--max-calls", "none"], ["--max-calls", "expected a whole number, 1 or more"]),
        (&["--allowed-host", "http://a"], ["--allowed-host: `http://a`", "has a scheme"]),
        (&["--allowed-origin", "a"], ["--allowed-origin: `a`", "has no scheme"]),
        (&["--idle-timeout", "0.5"], ["--idle-timeout: 500ms", "must be longer than"]),
        // An address for documentation, which no machine has.
        (&["--listen", "192.0.2.1:1"], ["cannot listen on 192.0.2.1:1", "choose another address with --listen"]),
    ];
    for (options, expected) in rows {
        let output = Bridge::command(options, &["true"]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{options:?}");
        assert!(expected.iter().all(|part| text.contains(part)), "{options:?}: {text}");
    }
}
