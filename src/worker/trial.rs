//! Which execution providers work here: each is tried in a process of its own, since a driver's fault may take it down.

use std::process::{Output, Stdio};

use tracing::{debug, info};

use crate::vision::Providers;
use crate::vision::execution::{Execution, Provider, ProviderError, ProviderKind};

use super::process::LaneSettings;

/// How the line begins in which a trial's process tells why a provider cannot be used, or nothing more.
pub const TOLD: &str = "trial: ";

/// The settings without the providers that do not work here, and what is to be told aloud of the choice. The processor is not tried.
/// Cancel-safe: a trial's process goes with whoever waits for it.
///
/// # Errors
/// [`ProviderError::Unusable`] if a role is left with none.
pub async fn with_usable_providers(settings: LaneSettings) -> Result<(LaneSettings, Vec<String>), ProviderError> {
    let wanted = &settings.execution.providers;
    let mut tried: Vec<(Provider, Option<String>)> = Vec::new();
    for provider in wanted.all() {
        if provider.kind == ProviderKind::Cpu {
            continue;
        }
        let reason = try_provider(&settings, provider).await.err();
        tried.push((provider.clone(), reason));
    }
    let reason = |provider: &Provider| {
        let reason = tried.iter().find(|(known, _)| known == provider).and_then(|(_, reason)| reason.as_ref());
        reason.map(|reason| format!("{provider}: {reason}"))
    };
    let usable = wanted.without(reason)?;
    let mut aloud = Vec::new();
    for (provider, reason) in &tried {
        match reason {
            Some(reason) => aloud.push(format!(
                "execution provider {provider} cannot be used here ({reason}); networks run on {usable} instead"
            )),
            None if !provider.kind.is_verified() => aloud.push(format!(
                "execution provider {provider} works here, but is unverified: its results were never compared with the processor's"
            )),
            None => info!(%provider, "execution provider works"),
        }
    }
    Ok((LaneSettings { execution: Execution { providers: usable, ..settings.execution.clone() }, ..settings }, aloud))
}

/// Runs a small network on a provider.
///
/// # Errors
/// Why it cannot be used, in words.
pub async fn try_provider(settings: &LaneSettings, provider: &Provider) -> Result<(), String> {
    let only = Providers::from(provider.clone());
    let execution = Execution { providers: only, ..settings.execution.clone() };
    let mut command = LaneSettings { execution, ..settings.clone() }.command();
    command.arg("--trial").stdin(Stdio::null());
    let within = settings.chunk_time + settings.loading();
    let output = tokio::time::timeout(within, command.output()).await;
    let output = output.map_err(|_| format!("it gave no answer within {} s", within.as_secs()))?;
    let Output { status, stdout, stderr } = output.map_err(|error| format!("the trial cannot be run: {error}"))?;
    let (told, words) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    debug!(%provider, words = words.trim(), "tried");
    // Libraries, too, write to standard output.
    let told = told.lines().find_map(|line| line.strip_prefix(TOLD));
    match (status.success(), told.map(str::trim)) {
        (true, Some("")) => Ok(()),
        // ONNX Runtime leaves to its log why it does not load OpenVINO.
        (true, Some(reason)) if reason.starts_with("Failed to load provider") => {
            Err(last_line(&words).unwrap_or(reason.to_owned()))
        }
        (true, Some(reason)) => Err(short(reason).to_owned()),
        _ => Err(format!("its trial died: {status}; {}", last_line(&words).unwrap_or_default())),
    }
}

/// The last line of a log that says something, without its head and colours.
fn last_line(log: &str) -> Option<String> {
    let bare = |line: &str| {
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    };
    let last = log.lines().map(bare).rfind(|line| !line.trim().is_empty())?;
    Some(last.rsplit_once("[ERROR] ").map_or(last.as_str(), |(_, words)| words).trim().to_owned())
}

/// What ONNX Runtime says, without its own functions' names.
fn short(reason: &str) -> &str {
    reason.rsplit_once(": FAIL : ").map_or(reason, |(_, words)| words).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_without_what_nobody_reads() {
        let log = "\u{1b}[1;31m2026-11-23 [E:onnxruntime] Create] /x/y.cc:141 f(g) [ERROR] [OpenVINO] Device GPU is not available\n\u{1b}[m\n";
        assert_eq!(last_line(log).as_deref(), Some("[OpenVINO] Device GPU is not available"));
        assert_eq!(last_line("\n"), None);
        let reason =
            "/x.cc:2043 f() [ONNXRuntimeError] : 1 : FAIL : Failed to load library a.so with error: b.so: no such file";
        assert_eq!(short(reason), "Failed to load library a.so with error: b.so: no such file");
        assert_eq!(short("this ONNX Runtime was built without it"), "this ONNX Runtime was built without it");
    }
}
