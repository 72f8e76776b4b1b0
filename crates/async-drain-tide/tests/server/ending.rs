//! Shutdowns that differ from a single SIGTERM.

use std::{io::Result, process::Command, thread, time::Duration};

use rustix::process::Signal;

use crate::{
    example::{AT_ONCE, drained, each, last_answer, terminate},
    support::{client::Conn, process::Server},
};

/// L4 Z12: the second signal cancels what is left, and the report names it.
#[test]
fn the_second_signal_aborts_at_once() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/stream/1000/1000")?;
        conn.read_head()?;
        terminate(server)?;
        // At once it would be the same request.
        thread::sleep(Duration::from_millis(300));
        server.signal(Signal::TERM)?;
        assert!(conn.read_body().is_err());
        let exit = server.wait(AT_ONCE)?;
        assert_eq!(exit.status.code(), Some(1), "{exit:?}");
        assert!(exit.report.starts_with("aborted: "), "{exit:?}");
        assert!(exit.stderr.contains("GET /stream/1000/1000"), "{exit:?}");
        Ok(())
    });
}

/// Z11: a handler may begin the drain, and its own answer arrives.
#[test]
fn a_handler_that_begins_the_drain_is_answered() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/begin")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z11: a handler that panics ends its own connection, and affects no other.
#[test]
fn a_handler_that_panics_ends_its_own_connection_only() {
    each(&[], |server| {
        let mut panicking = Conn::open(server.addr())?;
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        panicking.get("/panic")?;
        assert!(panicking.is_eof(AT_ONCE)?);
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

#[test]
fn a_bad_setting_ends_the_example_with_status_2() {
    for name in ["tide", "async_h1"] {
        for (setting, value) in [("GRACE_MS", "soon"), ("ADDR", "here"), ("TLS", "1")] {
            let output = Command::new(testkit::example(name))
                .env(setting, value)
                .output()
                .expect("the example runs");
            assert_eq!(output.status.code(), Some(2), "{name} {setting}");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains(setting), "{error}");
        }
    }
}

/// Z10 Z11: a server without descriptors answers its peers later, and doesn't panic.
#[test]
fn a_server_without_descriptors_answers_all_peers() {
    for name in ["tide", "async_h1"] {
        let mut command = Command::new("sh");
        let limited = "ulimit -n 24 && exec \"$0\"";
        command.args(["-c", limited]).arg(testkit::example(name));
        command.env("ADDR", "127.0.0.1:0");
        let played = Server::spawn(command).and_then(|mut server| {
            let mut conns = (0..60)
                .map(|_| {
                    let mut conn = Conn::open(server.addr())?;
                    conn.send(
                        b"GET /sleep/20 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
                    )?;
                    Ok(conn)
                })
                .collect::<Result<Vec<_>>>()?;
            for conn in &mut conns {
                assert_eq!(conn.read_response()?.body, b"slept\n");
            }
            server.signal(Signal::TERM)?;
            let exit = drained(&mut server)?;
            assert!(!exit.stderr.contains("panicked"), "{}", exit.stderr);
            Ok(())
        });
        played.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
