//! An external signer: a command that takes what is to be signed and gives the signature, so that the key can stay where it is.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use c2pa::SigningAlg;
use rustix::process::{Pid, Signal, kill_process_group};

use super::CredentialsError;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How soon it is looked after again.
const LOOK: Duration = Duration::from_millis(5);
/// The longest answer, bytes: a signature is a twentieth of it.
const ANSWER: u64 = 16 << 10;

/// A program that signs.
#[derive(Clone, Debug)]
pub struct Program {
    /// It and its arguments.
    words: Vec<String>,
    /// How long it may take.
    limit: Duration,
}

impl Program {
    /// The program and its arguments.
    pub fn new(words: Vec<String>) -> Self {
        Self { words, limit: LIMIT }
    }

    /// Runs it: `data` to its standard input, the signature from its standard output. Signatures of elliptic curves may be DER, as OpenSSL
    /// writes them, or both numbers one behind the other, as PKCS #11 does.
    ///
    /// # Errors
    /// Retry: it cannot be run, fails, says nothing, or takes longer than 30 s.
    pub fn sign(&self, data: &[u8], algorithm: SigningAlg) -> Result<Vec<u8>, CredentialsError> {
        let signature = self.answer(data).map_err(|reason| self.failure(reason))?;
        let Some(width) = width(algorithm) else { return Ok(signature) };
        if signature.len() == 2 * width {
            return Ok(signature);
        }
        let raw = raw_of_der(&signature, width);
        raw.ok_or_else(|| self.failure(format!("{} bytes that are no ECDSA signature", signature.len())))
    }

    fn failure(&self, reason: String) -> CredentialsError {
        CredentialsError::Command { program: self.words.first().cloned().unwrap_or_default(), reason }
    }

    fn answer(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        let (program, arguments) = self.words.split_first().ok_or("no program is named")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What it starts belongs to it, and ends with it: it holds the pipes, too.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
        let ended = std::thread::scope(|scope| {
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            // A program that does not read all of it says so by its exit status.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(data)));
            let answer = scope.spawn(move || all_of(stdout));
            let words = scope.spawn(move || all_of(stderr));
            let status = wait(&mut child, self.limit);
            (status, answer.join().unwrap_or_default(), words.join().unwrap_or_default())
        });
        match ended {
            (Err(reason), _, _) => Err(reason),
            (Ok(status), answer, _) if status.success() && !answer.is_empty() => Ok(answer),
            (Ok(status), _, words) => {
                let words = String::from_utf8_lossy(&words);
                Err(format!(
                    "{status}, no signature: {}",
                    words.trim().lines().next_back().unwrap_or("it said nothing")
                ))
            }
        }
    }
}

/// What comes out of a pipe, up to a limit; what was read before a failure is judged.
fn all_of(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.map(|pipe| pipe.take(ANSWER).read_to_end(&mut bytes));
    bytes
}

/// Waits for its end, up to the limit.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < limit => std::thread::sleep(LOOK),
            Ok(None) => {
                // It may have ended at this moment.
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
                return Err(format!("took longer than {limit:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Bytes of each of the two numbers of a signature on a curve; none for other algorithms.
fn width(algorithm: SigningAlg) -> Option<usize> {
    match algorithm {
        SigningAlg::Es256 => Some(32),
        SigningAlg::Es384 => Some(48),
        SigningAlg::Es512 => Some(66),
        _ => None,
    }
}

/// `SEQUENCE { INTEGER, INTEGER }` (RFC 3279) as two numbers of `width` bytes (IEEE P1363).
fn raw_of_der(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let (content, rest) = element(0x30, der)?;
    let (one, content) = element(0x02, content)?;
    let (other, content) = element(0x02, content)?;
    if !rest.is_empty() || !content.is_empty() {
        return None;
    }
    let mut raw = Vec::with_capacity(2 * width);
    for number in [one, other] {
        let digits = &number[number.iter().take_while(|byte| **byte == 0).count()..];
        raw.resize(raw.len() + width.checked_sub(digits.len())?, 0);
        raw.extend(digits);
    }
    Some(raw)
}

/// The content of a DER element of this tag, and what comes behind it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        length @ 0..=0x7F => (usize::from(*length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        _ => return None,
    };
    (*found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_curves_may_be_der() {
        let table: [(&[u8], Option<&[u8]>); 6] = [
            (&[0x30, 6, 2, 1, 5, 2, 1, 7], Some(&[0, 5, 0, 7])),
            (&[0x30, 8, 2, 2, 0, 0x80, 2, 2, 1, 2], Some(&[0, 0x80, 1, 2])),
            (&[0x30, 9, 2, 3, 1, 2, 3, 2, 2, 1, 2], None),
            (&[0x30, 6, 2, 1, 5, 2, 1, 7, 0], None),
            (&[0x30, 9, 2, 1, 5, 2, 1, 7], None),
            (&[], None),
        ];
        for (der, expected) in table {
            assert_eq!(raw_of_der(der, 2).as_deref(), expected, "{der:?}");
        }
    }

    fn shell(script: &str) -> Program {
        Program::new(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn a_signer_that_hangs_is_ended_with_all_that_it_has_started() {
        let program = Program { limit: Duration::from_millis(100), ..shell("sleep 600; true") };
        let began = Instant::now();
        let error = program.sign(b"data", SigningAlg::Es256).unwrap_err().to_string();
        assert!(error.contains("took longer than 100ms"), "{error}");
        assert!(began.elapsed() < LIMIT, "whoever holds its pipes was waited for");
    }

    #[test]
    fn a_signer_that_fails_is_named_with_what_it_said() {
        for (script, said) in [
            ("echo token removed >&2; exit 3", "token removed"),
            ("exit 0", "it said nothing"),
            ("cat > /dev/null; printf abc", "3 bytes that are no ECDSA signature"),
        ] {
            let program = shell(script);
            let error = program.sign(b"data", SigningAlg::Es256).unwrap_err();
            assert!(matches!(error, CredentialsError::Command { .. }));
            assert!(error.to_string().contains(said), "{error}");
        }
        let missing = Program::new(vec!["/no/such/program".to_owned()]);
        assert!(missing.sign(b"data", SigningAlg::Es256).unwrap_err().to_string().contains("cannot be run"));
    }
}
