//! The proxy does what it says, and servers come and go with their owners.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "tests touch sockets, clocks and processes")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use dflow_test_servers::{Fault, Proxy, Server};

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(150);

/// A server that answers every byte with the same byte.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Sends and reads the same number of bytes back.
fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn bytes_pass_and_a_stall_holds_them_until_it_is_lifted() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, b"hello").unwrap(), b"hello");
    proxy.set(Fault::Stall);
    stream.write_all(b"later").unwrap();
    stream.set_read_timeout(Some(A_WHILE)).unwrap();
    assert!(stream.read(&mut [0; 5]).is_err(), "nothing comes through a stall");
    proxy.set(Fault::None);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"later");
}

#[test]
fn a_cut_ends_connections_and_new_ones_pass_again() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    ask(&mut stream, b"x").unwrap();
    proxy.cut_now();
    assert!(ask(&mut stream, b"y").is_err());
    assert_eq!(ask(&mut connect(&proxy), b"z").unwrap(), b"z");
    proxy.set(Fault::Cut);
    assert!(ask(&mut connect(&proxy), b"z").is_err(), "refused while it is cut");
    proxy.set(Fault::None);
    assert_eq!(ask(&mut connect(&proxy), b"z").unwrap(), b"z");
}

#[test]
fn a_cut_and_a_flipped_bit_come_after_exactly_so_many_bytes() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    proxy.corrupt_after(3);
    assert_eq!(ask(&mut stream, b"aaaaaa").unwrap(), b"aaaqaa");
    proxy.cut_after(4);
    stream.write_all(b"123456789").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"1234");
    assert_eq!(ask(&mut connect(&proxy), b"on").unwrap(), b"on");
}

#[test]
fn a_slow_connection_is_slow_and_a_half_open_one_is_silent() {
    let proxy = Proxy::start(echo());
    let mut stream = connect(&proxy);
    proxy.set(Fault::Slow(4_000));
    let start = Instant::now();
    assert_eq!(ask(&mut stream, &[7; 1_000]).unwrap(), [7; 1_000]);
    assert!(start.elapsed() > Duration::from_millis(200), "1000 bytes at 4000 a second");
    proxy.set(Fault::None);
    proxy.set(Fault::HalfOpen);
    stream.set_read_timeout(Some(A_WHILE)).unwrap();
    let _ = stream.write_all(b"anybody?");
    let silent = stream.read(&mut [0; 8]);
    assert!(silent.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "open, and silent");
    assert_eq!(ask(&mut connect(&proxy), b"new").unwrap(), b"new");
}

/// The first bytes a MySQL or MariaDB server says carry its version.
fn greeting(server: &Server) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(SOON))?;
    let mut bytes = [0; 40];
    stream.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[5..]).into_owned())
}

#[test]
fn servers_answer_die_and_come_back_on_the_same_port() {
    for (kind, says) in [("mysql", "8."), ("mariadb", "MariaDB")] {
        let Some(server) = Server::own(kind) else { continue };
        assert!(greeting(&server).unwrap().contains(says), "{kind}");
        server.kill();
        assert!(greeting(&server).is_err(), "{kind} is down");
        server.start();
        assert!(greeting(&server).unwrap().contains(says), "{kind}");
        server.stop();
        server.stop();
    }
}

#[test]
fn one_server_of_a_kind_is_shared() {
    let (Some(a), Some(b)) = (Server::get("mariadb"), Server::get("mariadb")) else { return };
    assert_eq!(a.port(), b.port());
}
