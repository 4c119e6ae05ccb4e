//! A TCP proxy whose connections break as a test wants.
//!
//! Two threads per connection, no runtime: a test with paused time or a busy executor does not slow it down.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often waiting threads look up.
const TICK: Duration = Duration::from_millis(5);

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: they pass.
    None,
    /// They stay where they are; connections remain open, and go on when the fault is lifted.
    Stall,
    /// Every connection is closed, and so is every new one, at once.
    Cut,
    /// At most so many bytes a second pass, per connection and direction.
    Slow(u64),
    /// The server's side of connections that are open now is closed without a word to the client, which waits for
    /// ever. New connections pass.
    HalfOpen,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// Connections accepted before this number are gone: cut, or half open.
    cut_below: u64,
    silent_below: u64,
    accepted: u64,
    /// After so many more bytes from the server, all connections are cut once.
    cut_after: Option<u64>,
    /// After so many more bytes from the server, one bit of one byte changes.
    corrupt_after: Option<u64>,
    closed: bool,
}

/// See the [module](self). Dropping it closes everything.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy to a port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("a bound socket").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            while !lock(&shared).closed {
                match listener.accept() {
                    Ok((client, _)) => serve(client, target, &shared),
                    Err(_) => std::thread::sleep(TICK),
                }
            }
        });
        Proxy { port, state }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, until set again.
    pub fn set(&self, fault: Fault) {
        let mut state = lock(&self.state);
        match fault {
            Fault::Cut => state.cut_below = u64::MAX,
            Fault::HalfOpen => state.silent_below = state.accepted,
            _ => {
                if state.cut_below == u64::MAX {
                    state.cut_below = state.accepted;
                }
            }
        }
        state.fault = Some(fault);
    }

    /// Closes all connections of this moment. New ones pass.
    pub fn cut_now(&self) {
        let mut state = lock(&self.state);
        state.cut_below = state.accepted;
    }

    /// Closes all connections once the server has sent so many more bytes.
    pub fn cut_after(&self, bytes: u64) {
        lock(&self.state).cut_after = Some(bytes);
    }

    /// Changes one bit of what the server sends, after so many more bytes.
    pub fn corrupt_after(&self, bytes: u64) {
        lock(&self.state).corrupt_after = Some(bytes);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        lock(&self.state).accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.state).closed = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: TcpStream, target: u16, state: &Arc<Mutex<State>>) {
    let number = {
        let mut state = lock(state);
        state.accepted += 1;
        if state.cut_below == u64::MAX {
            return;
        }
        state.accepted - 1
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
    let Ok(server) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else { return };
    for stream in [&client, &server] {
        let set = stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true));
        if set.and_then(|()| stream.set_read_timeout(Some(TICK))).is_err() {
            return;
        }
    }
    let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else { return };
    let (up, down) = (state.clone(), state.clone());
    std::thread::spawn(move || pump(client, server, number, &up, false));
    std::thread::spawn(move || pump(server2, client2, number, &down, true));
}

/// Carries bytes one way until either end closes, or a fault does.
fn pump(mut from: TcpStream, mut to: TcpStream, number: u64, state: &Mutex<State>, is_answer: bool) {
    let mut buffer = vec![0; 16 << 10];
    'open: loop {
        let room = loop {
            match verdict(state, number) {
                Verdict::Pass(room) => break room,
                Verdict::Wait => std::thread::sleep(TICK),
                Verdict::Cut => break 'open,
                Verdict::Silence => {
                    silence(from, to, state, is_answer);
                    return;
                }
            }
        };
        let room = room.min(buffer.len());
        let read = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        let mut keep = read;
        if is_answer {
            keep = damage(&mut buffer[..read], state);
        }
        // A fault may have begun while this was read: it holds for these bytes too.
        loop {
            match verdict(state, number) {
                Verdict::Pass(_) => break,
                Verdict::Wait => std::thread::sleep(TICK),
                // The count of `cut_after` says what still passes.
                Verdict::Cut if keep < read => break,
                Verdict::Cut => break 'open,
                Verdict::Silence => {
                    silence(from, to, state, is_answer);
                    return;
                }
            }
        }
        if to.write_all(&buffer[..keep]).is_err() || keep < read {
            break;
        }
        if let Some(Fault::Slow(rate)) = lock(state).fault {
            std::thread::sleep(Duration::from_secs_f64(keep as f64 / rate.max(1) as f64));
        }
    }
    // The other direction may have closed the server's side already: the client is not to know.
    if matches!(verdict(state, number), Verdict::Silence) {
        silence(from, to, state, is_answer);
        return;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

enum Verdict {
    Pass(usize),
    Wait,
    Cut,
    Silence,
}

fn verdict(state: &Mutex<State>, number: u64) -> Verdict {
    let state = lock(state);
    if state.closed || number < state.cut_below {
        return Verdict::Cut;
    }
    if number < state.silent_below {
        return Verdict::Silence;
    }
    match state.fault {
        Some(Fault::Stall) => Verdict::Wait,
        // A twentieth of a second's worth at a time.
        Some(Fault::Slow(rate)) => Verdict::Pass((rate / 20).max(1) as usize),
        _ => Verdict::Pass(usize::MAX),
    }
}

/// Applies what counts bytes; returns how many of them pass before the cut.
fn damage(bytes: &mut [u8], state: &Mutex<State>) -> usize {
    let mut state = lock(state);
    let len = bytes.len() as u64;
    if let Some(after) = state.corrupt_after {
        state.corrupt_after = after.checked_sub(len);
        if after < len {
            bytes[after as usize] ^= 0x10;
        }
    }
    if let Some(after) = state.cut_after {
        if after < len {
            state.cut_after = None;
            state.cut_below = state.accepted;
            return after as usize;
        }
        state.cut_after = Some(after - len);
    }
    bytes.len()
}

/// Closes the server's side and holds the client's open, without a word.
fn silence(from: TcpStream, to: TcpStream, state: &Mutex<State>, is_answer: bool) {
    let (server, client) = if is_answer { (from, to) } else { (to, from) };
    let _ = server.shutdown(Shutdown::Both);
    while !lock(state).closed {
        std::thread::sleep(TICK);
    }
    drop(client);
}
