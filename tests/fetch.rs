//! `facemill models fetch` from a web address that breaks off.

mod support;
#[allow(dead_code, reason = "the library's own tests use the rest")]
#[path = "../src/vision/testing/tiny.rs"]
mod tiny;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use facemill::vision;
use sha2::{Digest, Sha256};
use support::{Bench, facemill};
use tiny::Gives;
use vision::Catalog;

/// Serves `file` to whoever asks, from where they want it; the first answer breaks off half-way. The ranges that were asked for.
fn serve(file: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/network.onnx", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let range = head.iter().find_map(|line| line.strip_prefix("Range: bytes=")).unwrap_or("").to_owned();
            let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
            let left = &file[start..];
            let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
            let ranges = format!("Content-Range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len());
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{ranges}Connection: close\r\n\r\n", left.len())
                .unwrap();
            stream.write_all(if number == 0 { &left[..left.len() / 2] } else { left }).unwrap();
            seen.lock().unwrap().push(range);
        }
    });
    (address, asked)
}

#[test]
fn a_fetch_that_broke_off_goes_on_and_is_checked() {
    let bench = Bench::new();
    let (incoming, models) = (bench.path("incoming"), bench.path("models"));
    std::fs::create_dir_all(&incoming).unwrap();
    std::fs::create_dir_all(&models).unwrap();
    let model = tiny::write(&Catalog::builtin().unwrap(), "xseg_1", &incoming, &[Gives::Everywhere(1.0)], None);
    let file = std::fs::read(incoming.join(&model.card.file)).unwrap();
    let card = |id: &str, address: &str, sha256: &str| {
        let toml = include_str!("../models/xseg_1.toml").replace("xseg_1", id);
        let fetch = format!(
            "{}\n[fetch]\nurl = \"{address}\"\n\n[picture]",
            if sha256.is_empty() { String::new() } else { format!("sha256 = \"{sha256}\"\n") }
        );
        std::fs::write(models.join(format!("{id}.toml")), toml.replacen("\n[picture]", &fetch, 1)).unwrap();
    };
    let fetch = |id: &str| {
        let output = facemill().args(["models", "fetch", id]).env("FACEMILL_MODELS", &models).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let digest = hex::encode(Sha256::digest(&file));
    let (address, asked) = serve(file.clone());

    card("mine", &address, &digest);
    let (exit, told) = fetch("mine");
    assert_eq!(exit, Some(1), "{told}");
    assert!(!models.join("mine.onnx").exists(), "what broke off is not taken");
    let (exit, told) = fetch("mine");
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("100"), "progress is shown: {told}");
    assert_eq!(std::fs::read(models.join("mine.onnx")).unwrap(), file);
    assert_eq!(*asked.lock().unwrap(), ["".to_owned(), format!("{}-", file.len() / 2)]);

    card("other", &address, &digest.replace(|digit| digit != '0', "1"));
    let (exit, told) = fetch("other");
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("sha256") && !models.join("other.onnx").exists(), "{told}");
    card("open", &address, "");
    let (exit, told) = fetch("open");
    assert_eq!(exit, Some(1), "without a digest only over https: {told}");
}
