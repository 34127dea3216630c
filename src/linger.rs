//! A gentle end of a connection: the last answer arrives even where what was asked has not been read to its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use zeroize::Zeroizing;

/// How long the other side has to close as well.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How many bytes, at most, are read and discarded meanwhile.
const DISCARD_MAX: usize = 1024 * 1024;

/// A stream that ends its own half first and reads on for a moment before it is closed.
///
/// Closing a socket that holds unread bytes sends RST (RFC 2525, 2.17): a client that still writes a body fails at that, and
/// never hears that the body is too long (RFC 9112, 9.6).
pub(crate) struct Lingering<S> {
    stream: S,
    ending: Option<Ending>,
}

struct Ending {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S) -> Lingering<S> {
        Lingering { stream, ending: None }
    }

    /// The stream itself, for an end that is not gentle: a fault of the sandbox.
    #[cfg(feature = "sandbox")]
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The place for what comes next may hold what came before, of a request that was answered and whose connection stays open.
        into.initialize_unfilled();
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let ending = match &mut this.ending {
            Some(ending) => ending,
            none => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                none.insert(Ending { deadline: Box::pin(tokio::time::sleep(CLOSE_WITHIN)), left: DISCARD_MAX })
            }
        };
        // What nobody reads may hold a code all the same.
        let mut discarded = Zeroizing::new([0; 4096]);
        while ending.left > 0 && ending.deadline.as_mut().poll(cx).is_pending() {
            let mut into = ReadBuf::new(&mut *discarded);
            // Whatever goes wrong from here on, the answer has been sent.
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut into));
            if read.is_err() || into.filled().is_empty() {
                break;
            }
            ending.left = ending.left.saturating_sub(into.filled().len());
        }
        Poll::Ready(Ok(()))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn whoever_goes_on_writing_for_ever_is_left_after_a_mebibyte() {
        let (mut client, server) = duplex(4096);
        let writing = tokio::spawn(async move {
            let mut taken = 0;
            while client.write_all(&[b'x'; 1024]).await.is_ok() {
                taken += 1024;
            }
            taken
        });
        let mut server = Lingering::new(server);
        server.shutdown().await.unwrap();
        drop(server);
        let taken = writing.await.unwrap();
        assert!((DISCARD_MAX - 4096..=DISCARD_MAX + 4096).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn whoever_says_nothing_more_and_whoever_is_gone_are_left() {
        let (mut silent, server) = duplex(64);
        let mut server = Lingering::new(server);
        let (ended, heard) = tokio::join!(server.shutdown(), async { silent.read(&mut [0; 8]).await });
        ended.unwrap();
        assert_eq!(heard.unwrap(), 0, "the own half ends first");

        let (gone, server) = duplex(64);
        drop(gone);
        Lingering::new(server).shutdown().await.unwrap();
    }
}
