//! Descriptors handed from towpath to its keeper (`unix(7)`, SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Three standard streams, a terminal, and what is held for the run.
pub(super) const MAX_DESCRIPTORS: usize = 16;

/// Sends one byte, and the descriptors with it.
pub(super) fn send(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > MAX_DESCRIPTORS || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more descriptors than a keeper can take"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send`] sent. Blocks until then, or until the other end closes.
///
/// # Errors
/// `UnexpectedEof` when the other end closed first; `EMFILE` when this process
/// may not have so many, of which the kernel then drops some (MSG_CTRUNC).
pub(super) fn receive(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::from(Errno::MFILE));
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::fd::{AsFd, AsRawFd};
    use std::process::Command;

    const CHILD: &str = "TOWPATH_TEST_CHILD";

    /// Runs this very test again, alone in a process that may then be limited.
    #[test]
    fn some_of_the_descriptors_are_not_taken_for_all_of_them() {
        if std::env::var_os(CHILD).is_none() {
            let test = "process::descriptors::tests::some_of_the_descriptors_are_not_taken_for_all_of_them";
            let mut alone = Command::new(std::env::current_exe().unwrap());
            let output = alone.args(["--exact", "--nocapture", test]).env(CHILD, "1").output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let given = ours.as_fd();
        send(&ours, &[given; 4]).unwrap();
        assert_eq!(receive(&theirs).unwrap().len(), 4);
        let next = ours.try_clone().unwrap().as_raw_fd();
        let limit = Rlimit { current: Some(u64::try_from(next).unwrap() + 2), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).unwrap();
        send(&ours, &[given; 4]).unwrap();
        assert_eq!(receive(&theirs).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }
}
