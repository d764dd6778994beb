//! The connection between a worker and who started it.
//!
//! On Unix it is one socket, the worker's standard input, so that standard
//! output is the plugin's like that of any program; it goes where errors go.
//! On Windows it is a pair of pipes, standard input and output: a plugin that
//! prints breaks a message, which costs the explanation.

use std::io;
use std::process::{Child, Command, Stdio};

pub(super) use system::{Stream, end, hang_up, inherited, isolate, kill, spawn};

#[cfg(unix)]
mod system {
    use super::*;
    use std::fs::File;
    use std::net::Shutdown;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt as _;

    pub(in super::super) type Stream = UnixStream;

    /// Starts a worker; returns what is read from it and written to it.
    pub(in super::super) fn spawn(command: &mut Command) -> io::Result<(Child, Stream, Stream)> {
        let (own, other) = UnixStream::pair()?;
        // Ctrl-C in a terminal is for who started the worker, not for it.
        command.process_group(0);
        command.stdin(OwnedFd::from(other)).stdout(io::stderr());
        let child = command.spawn()?;
        // The command keeps the worker's end of the socket until it is given
        // something else.
        command.stdin(Stdio::null());
        Ok((child, own.try_clone()?, own))
    }

    /// The worker's side of the connection. Its standard input is empty from
    /// now on.
    pub(in super::super) fn inherited() -> io::Result<(Stream, Stream)> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.peer_addr()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok((socket.try_clone()?, socket))
    }

    /// Kills a worker, and what its plugin has started.
    pub(in super::super) fn kill(child: &mut Child) {
        use rustix::process::{Pid, Signal, kill_process_group};
        // Once it was waited for, its number may be another's.
        if let (Ok(None), Some(group)) = (child.try_wait(), Pid::from_raw(child.id() as i32)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.kill();
    }

    /// Wakes whoever reads or writes, even where a process that the worker has
    /// left behind holds the other end.
    pub(in super::super) fn hang_up(stream: &Stream) {
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// Bounds the worker's memory by three quarters of the machine's, so that a
    /// plugin that asks for more and more ends the worker and not what runs
    /// beside it.
    pub(in super::super) fn isolate() {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let info = rustix::system::sysinfo();
            #[allow(clippy::unnecessary_cast, reason = "its width is the system's")]
            let all = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit.max(1)));
            let (most, before) = (all / 4 * 3, getrlimit(Resource::As));
            let most = before.current.map_or(most, |limit| limit.min(most));
            let limit = Rlimit {
                current: Some(most),
                maximum: before.maximum,
            };
            // Where it is refused, the worker runs without.
            let _ = setrlimit(Resource::As, limit);
        }
    }

    /// Ends this process, whatever the plugin has arranged for its end.
    pub(in super::super) fn end() -> ! {
        use rustix::process::{Signal, getpid, kill_process};
        let _ = kill_process(getpid(), Signal::KILL);
        std::process::exit(1)
    }
}

#[cfg(windows)]
mod system {
    use super::*;
    use std::fs::File;
    use std::os::windows::io::{AsHandle as _, OwnedHandle};
    use std::os::windows::process::CommandExt as _;

    pub(in super::super) type Stream = File;

    /// Ctrl-C is for who started the worker, not for it.
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;

    fn file(from: impl Into<OwnedHandle>) -> File {
        File::from(from.into())
    }

    /// Starts a worker; returns what is read from it and written to it.
    pub(in super::super) fn spawn(command: &mut Command) -> io::Result<(Child, Stream, Stream)> {
        command.creation_flags(CREATE_NEW_PROCESS_GROUP);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the worker has no pipes"));
        };
        Ok((child, file(output), file(input)))
    }

    /// The worker's side of the connection.
    pub(in super::super) fn inherited() -> io::Result<(Stream, Stream)> {
        let input = io::stdin().as_handle().try_clone_to_owned()?;
        let output = io::stdout().as_handle().try_clone_to_owned()?;
        Ok((file(input), file(output)))
    }

    /// Kills a worker.
    pub(in super::super) fn kill(child: &mut Child) {
        let _ = child.kill();
    }

    /// Pipes end with the worker, and with what its plugin has started.
    pub(in super::super) fn hang_up(_stream: &Stream) {}

    /// Nothing bounds a worker here.
    pub(in super::super) fn isolate() {}

    /// Ends this process.
    pub(in super::super) fn end() -> ! {
        std::process::exit(1)
    }
}
