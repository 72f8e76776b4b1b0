//! The client's side of an HTTP/1.1 connection.

use crate::meter::peer::Peer;
use crate::meter::tally::{Loss, Outcome};
use crate::meter::transport::{Reader, Stream, Writer};
use crate::response::{Decoder, Event, Head};
use smol::Timer;
use std::io::Result;
use std::time::Duration;

/// A connection. Its halves are apart, so that a request can be written while its answer is read.
pub struct Http1 {
    pub requests: Writer,
    pub answers: Answers,
}

/// Builds the head of a request. `fields` are further header fields, each with its line end.
pub fn head(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: loss\r\n{fields}\r\n").into_bytes()
}

impl Http1 {
    pub fn new(stream: Stream) -> Self {
        let answers = Answers {
            reader: stream.reader,
            decoder: Decoder::new(),
            received: 0,
        };
        Self {
            requests: stream.writer,
            answers,
        }
    }

    /// Writes a whole request and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> Outcome {
        match self.requests.write(request).await {
            Ok(()) => self.answers.next().await,
            // The server may have taken some of the bytes: to send them again may do the work
            // twice.
            Err(error) => Outcome::Lost(Loss::new(&error, 0)),
        }
    }
}

impl Peer for Http1 {
    fn new(stream: Stream) -> Self {
        Self::new(stream)
    }

    /// Bytes that no one asked for count as leaving too: a server that is about to close may give
    /// the reason (408).
    async fn look(&mut self) -> bool {
        self.answers.reader.look().await.is_none()
    }

    async fn get(&mut self, path: &str) -> Outcome {
        self.ask(&head("GET", path, "")).await
    }

    async fn leave(self) -> bool {
        self.answers.reader.leave(async |_| {}).await
    }
}

/// The responses of a connection.
pub struct Answers {
    reader: Reader,
    decoder: Decoder,
    /// How much of the current response has arrived.
    received: u64,
}

impl Answers {
    /// Reads a whole response.
    pub async fn next(&mut self) -> Outcome {
        match self.head().await {
            Ok(head) => self.rest(&head, Duration::ZERO).await,
            Err(loss) => Outcome::Lost(loss),
        }
    }

    /// Reads the head of the next response.
    pub async fn head(&mut self) -> std::result::Result<Head, Loss> {
        loop {
            // A response always begins with its head.
            if let Event::Head(head) = self.event().await.map_err(|error| self.loss(&error))? {
                return Ok(head);
            }
        }
    }

    /// Reads the body that belongs to a head, pausing after each piece as a slow reader does.
    pub async fn rest(&mut self, head: &Head, pause: Duration) -> Outcome {
        let mut body = 0;
        loop {
            match self.event().await {
                Ok(Event::Data(bytes)) => body += bytes.len() as u64,
                Ok(_) => break,
                Err(error) => return Outcome::Lost(self.loss(&error)),
            }
            if !pause.is_zero() {
                Timer::after(pause).await;
            }
        }
        self.received = self.decoder.buffered() as u64;
        Outcome::Answered {
            status: head.status,
            body,
            leaving: head.closes(),
        }
    }

    /// Reads what comes next on a connection that HTTP has left, as CONNECT does; nothing is its
    /// end.
    pub async fn some(&mut self) -> Result<Vec<u8>> {
        match self.event().await? {
            Event::Data(bytes) => Ok(bytes),
            Event::Head(_) | Event::End => Ok(Vec::new()),
        }
    }

    fn loss(&self, error: &std::io::Error) -> Loss {
        Loss::new(error, self.received)
    }

    async fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.decoder.next_event()? {
                return Ok(event);
            }
            let bytes = self.reader.read().await?;
            if bytes.is_empty() {
                return self.decoder.finish();
            }
            self.received += bytes.len() as u64;
            self.decoder.fill(bytes);
        }
    }
}
