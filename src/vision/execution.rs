//! What networks run on: execution providers of ONNX Runtime, for each role, in order of preference.
//!
//! Written as `cuda,cpu;swapper=tensorrt:1/fp16,cuda:1`: the first order is for every role that has none of its own. What is
//! not named is not used: `cuda` alone must work, `cuda,cpu` may do without a GPU.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::card::Role;

/// Where ONNX Runtime can run a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs, by engines that are built once for each network and GPU.
    Tensorrt,
    /// Intel processors, GPUs and NPUs.
    Openvino,
    /// Apple's GPUs and neural engines.
    Coreml,
    /// GPUs under Windows.
    Directml,
    /// AMD GPUs.
    Migraphx,
    /// Huawei's Ascend.
    Cann,
}

impl ProviderKind {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Cuda,
        Self::Tensorrt,
        Self::Openvino,
        Self::Coreml,
        Self::Directml,
        Self::Migraphx,
        Self::Cann,
    ];

    /// By which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
            Self::Openvino => "openvino",
            Self::Coreml => "coreml",
            Self::Directml => "directml",
            Self::Migraphx => "migraphx",
            Self::Cann => "cann",
        }
    }

    /// Whether Facemill has been seen to give right results on it; the others are run as their documentation says.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::Cpu | Self::Openvino)
    }

    /// What tells its devices apart.
    fn devices(self) -> Devices {
        match self {
            Self::Cpu | Self::Coreml => Devices::One,
            Self::Openvino => Devices::Named,
            Self::Cuda | Self::Tensorrt | Self::Directml | Self::Migraphx | Self::Cann => Devices::Numbered,
        }
    }

    /// Whether it can compute in another precision than the network's own.
    fn takes(self, precision: Precision) -> bool {
        match precision {
            Precision::Own => true,
            Precision::Fp16 => matches!(self, Self::Tensorrt | Self::Openvino | Self::Migraphx),
            Precision::Int8 => matches!(self, Self::Tensorrt | Self::Migraphx),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Devices {
    /// There is nothing to choose.
    One,
    /// 0, 1, 2 …
    Numbered,
    /// As OpenVINO calls them: `CPU`, `GPU`, `GPU.1`, `NPU`.
    Named,
}

/// What a provider computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What the network's file says.
    #[default]
    Own,
    /// Half precision, where the network is in single.
    Fp16,
    /// 8-bit integers, where the network tells their scales (QDQ).
    Int8,
}

impl Precision {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// One choice: a provider, which of its devices, and what it computes in. Written `cuda`, `cuda:1`, `openvino:GPU`, `tensorrt:0/fp16`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Provider {
    /// The provider.
    pub kind: ProviderKind,
    /// Its device; none: its own choice.
    pub device: Option<String>,
    /// What it computes in.
    pub precision: Precision,
}

impl Provider {
    /// What of it can change a result: not which of several like devices it is.
    fn identity(&self) -> Self {
        let device = if self.kind.devices() == Devices::Named { self.device.clone() } else { None };
        Self { device, ..self.clone() }
    }

    /// The device's number, 0 if none was given.
    pub fn device_number(&self) -> i32 {
        self.device.as_deref().and_then(|device| device.parse().ok()).unwrap_or(0)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind.name())?;
        if let Some(device) = &self.device {
            write!(out, ":{device}")?;
        }
        match self.precision {
            Precision::Own => Ok(()),
            precision => write!(out, "/{}", precision.name()),
        }
    }
}

/// What is wrong with a choice of providers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// There is no such provider.
    #[error("execution provider {0:?} is unknown (expected one of: {known})", known = ProviderKind::ALL.map(ProviderKind::name).join(", "))]
    Name(String),
    /// It has no such device.
    #[error("execution provider {provider}'s device is {device:?} (expected {expected})")]
    Device {
        /// The provider.
        provider: &'static str,
        /// What was found.
        device: String,
        /// What was expected.
        expected: &'static str,
    },
    /// It does not compute in that.
    #[error("execution provider {provider}'s precision is {precision:?} (expected {expected})")]
    Precision {
        /// The provider.
        provider: &'static str,
        /// What was found.
        precision: String,
        /// What was expected.
        expected: String,
    },
    /// There is no such role, or it has no choice.
    #[error("execution providers are given for role {0:?} (expected one of: {known})", known = roles().map(|role| role.to_string()).join(", "))]
    Role(String),
    /// Twice the same.
    #[error("execution providers name {0} twice (expected it once)")]
    Twice(String),
    /// None of an order works here, and the processor is not in it.
    #[error(
        "no execution provider of {order} can be used here: {reasons} (expected one that works; with cpu at the end there always is one)"
    )]
    Unusable {
        /// What was asked for.
        order: String,
        /// Why not, each.
        reasons: String,
    },
}

/// Roles for which providers can be chosen: all but the gate's, which ingest runs on the processor.
fn roles() -> [Role; Role::ALL.len() - 1] {
    let mut roles = Role::ALL.into_iter().filter(|role| *role != Role::Gate);
    std::array::from_fn(|_| roles.next().unwrap_or(Role::Detector))
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let (rest, precision) = match text.split_once('/') {
            Some((rest, precision)) => (rest, Some(precision)),
            None => (text, None),
        };
        let (name, device) = match rest.split_once(':') {
            Some((name, device)) => (name, Some(device.to_owned())),
            None => (rest, None),
        };
        let kind = ProviderKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| ProviderError::Name(name.to_owned()))?;
        if let Some(device) = &device {
            let is_name = |device: &str| {
                (1..=32).contains(&device.len())
                    && device.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
            };
            let (is_one, expected) = match kind.devices() {
                Devices::One => (false, "none: it has no choice of devices"),
                Devices::Numbered => (device.parse::<u16>().is_ok_and(|number| number < 256), "a number, 0..=255"),
                Devices::Named => (is_name(device), "a name as CPU, GPU, GPU.1, NPU"),
            };
            if !is_one {
                return Err(ProviderError::Device { provider: kind.name(), device: device.clone(), expected });
            }
        }
        let precision = match precision {
            None => Precision::Own,
            Some(name) => {
                let known = [Precision::Fp16, Precision::Int8];
                let taken = known.into_iter().filter(|precision| kind.takes(*precision));
                taken.clone().find(|precision| precision.name() == name).ok_or_else(|| {
                    let names: Vec<&str> = taken.map(Precision::name).collect();
                    let expected = match names.is_empty() {
                        true => "none: it computes in what the network's file says".to_owned(),
                        false => names.join(" or "),
                    };
                    ProviderError::Precision { provider: kind.name(), precision: name.to_owned(), expected }
                })?
            }
        };
        Ok(Self { kind, device, precision })
    }
}

/// Some providers, the preferred one first; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Vec<Provider>);

impl Default for Order {
    fn default() -> Self {
        Self(vec![Provider::default()])
    }
}

impl Order {
    /// The providers, the preferred one first.
    pub fn providers(&self) -> &[Provider] {
        &self.0
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, provider) in self.0.iter().enumerate() {
            write!(out, "{}{provider}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let mut providers: Vec<Provider> = Vec::new();
        for part in text.split(',') {
            let provider: Provider = part.trim().parse()?;
            if providers.contains(&provider) {
                return Err(ProviderError::Twice(provider.to_string()));
            }
            providers.push(provider);
        }
        Ok(Self(providers))
    }
}

/// What networks run on: an order of preference for each role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Providers {
    usual: Order,
    of_roles: BTreeMap<Role, Order>,
}

impl Providers {
    /// What the networks of a role run on.
    pub fn of(&self, role: Role) -> &Order {
        self.of_roles.get(&role).unwrap_or(&self.usual)
    }

    /// Every provider that some role may run on, each once.
    pub fn all(&self) -> Vec<&Provider> {
        let mut all: Vec<&Provider> = Vec::new();
        for provider in self.orders().flat_map(Order::providers) {
            if !all.contains(&provider) {
                all.push(provider);
            }
        }
        all
    }

    /// Whether everything runs on the processor.
    pub fn is_cpu_only(&self) -> bool {
        self.all().iter().all(|provider| provider.kind == ProviderKind::Cpu)
    }

    /// Whether some provider builds engines of networks when it loads them.
    pub fn build_engines(&self) -> bool {
        let builds =
            |kind: ProviderKind| !matches!(kind, ProviderKind::Cpu | ProviderKind::Cuda | ProviderKind::Directml);
        self.all().iter().any(|provider| builds(provider.kind))
    }

    /// What of the choice can change a result, as text: part of a result's name, and of a worker group's.
    pub fn identity(&self) -> String {
        let order = |order: &Order| {
            let mut known: Vec<Provider> = Vec::new();
            for provider in order.providers().iter().map(Provider::identity) {
                if !known.contains(&provider) {
                    known.push(provider);
                }
            }
            Order(known)
        };
        let usual = order(&self.usual);
        let of_roles = self.of_roles.iter().map(|(role, own)| (*role, order(own)));
        Self { of_roles: of_roles.filter(|(_, own)| *own != usual).collect(), usual }.to_string()
    }

    /// The same without the providers of which `reason` knows why they cannot be used here.
    ///
    /// # Errors
    /// [`ProviderError::Unusable`] if a role is left with none.
    pub fn without(&self, reason: impl Fn(&Provider) -> Option<String>) -> Result<Self, ProviderError> {
        let left = |order: &Order| {
            let usable: Vec<Provider> =
                order.providers().iter().filter(|provider| reason(provider).is_none()).cloned().collect();
            match usable.is_empty() {
                false => Ok(Order(usable)),
                true => Err(ProviderError::Unusable {
                    order: order.to_string(),
                    reasons: order.providers().iter().filter_map(&reason).collect::<Vec<_>>().join("; "),
                }),
            }
        };
        let of_roles = self.of_roles.iter().map(|(role, order)| Ok((*role, left(order)?)));
        Ok(Self { usual: left(&self.usual)?, of_roles: of_roles.collect::<Result<_, _>>()? })
    }

    fn orders(&self) -> impl Iterator<Item = &Order> {
        std::iter::once(&self.usual).chain(self.of_roles.values())
    }
}

impl fmt::Display for Providers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usual.fmt(out)?;
        self.of_roles.iter().try_for_each(|(role, order)| write!(out, ";{role}={order}"))
    }
}

impl FromStr for Providers {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let (mut usual, mut of_roles) = (None, BTreeMap::new());
        for part in text.split(';').map(str::trim) {
            let Some((name, order)) = part.split_once('=') else {
                if usual.replace(part.parse()?).is_some() {
                    return Err(ProviderError::Twice("an order for all roles".to_owned()));
                }
                continue;
            };
            let role = roles().into_iter().find(|role| role.to_string() == name.trim());
            let role = role.ok_or_else(|| ProviderError::Role(name.to_owned()))?;
            if of_roles.insert(role, order.parse()?).is_some() {
                return Err(ProviderError::Twice(format!("role {role}")));
            }
        }
        Ok(Self { usual: usual.unwrap_or_default(), of_roles })
    }
}

impl From<Provider> for Providers {
    fn from(provider: Provider) -> Self {
        Self { usual: Order(vec![provider]), of_roles: BTreeMap::new() }
    }
}

impl TryFrom<String> for Providers {
    type Error = ProviderError;

    fn try_from(text: String) -> Result<Self, ProviderError> {
        text.parse()
    }
}

impl From<Providers> for String {
    fn from(providers: Providers) -> Self {
        providers.to_string()
    }
}

/// How networks are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// What they run on.
    pub providers: Providers,
    /// Threads within one run on the processor, at least 1. The result does not depend on it.
    pub threads: usize,
    /// Folder for what providers make of networks (engines), so that it is made once; none: it is made anew by each lane.
    pub engines: Option<PathBuf>,
}

impl Default for Execution {
    fn default() -> Self {
        Self { providers: Providers::default(), threads: 1, engines: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Providers {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn choices_are_read_and_written() {
        for text in ["cpu", "cuda,cpu", "tensorrt:1/fp16,cuda:1,cpu", "openvino:GPU.1/fp16", "cpu;swapper=cuda,cpu"] {
            assert_eq!(read(text).to_string(), text);
        }
        let providers = read(" cuda:1, cpu ; swapper=tensorrt ; detector=cpu");
        assert_eq!(providers.of(Role::Swapper).to_string(), "tensorrt");
        assert_eq!(providers.of(Role::Detector).to_string(), "cpu");
        assert_eq!(providers.of(Role::Restorer).to_string(), "cuda:1,cpu");
        assert_eq!(providers.of(Role::Restorer).providers()[0].device_number(), 1);
        assert_eq!(providers.all().len(), 3);
        assert!(!providers.is_cpu_only() && Providers::default().is_cpu_only());
        assert_eq!(read("swapper=cuda").of(Role::Eyes), &Order::default());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_could() {
        for (text, expected) in [
            ("abacus", r#"execution provider "abacus" is unknown (expected one of: cpu, cuda, tensorrt, openvino, "#),
            ("", r#"execution provider "" is unknown"#),
            ("cpu:1", r#"execution provider cpu's device is "1" (expected none"#),
            ("cuda:x", r#"execution provider cuda's device is "x" (expected a number, 0..=255)"#),
            ("openvino:a b", r#"device is "a b" (expected a name as CPU, GPU, GPU.1, NPU)"#),
            ("cuda/fp16", r#"execution provider cuda's precision is "fp16" (expected none"#),
            ("tensorrt/fp8", r#"execution provider tensorrt's precision is "fp8" (expected fp16 or int8)"#),
            ("cpu,cuda,cpu", "execution providers name cpu twice"),
            ("cpu;cuda", "execution providers name an order for all roles twice"),
            ("cpu;eyes=cpu;eyes=cuda", "execution providers name role eyes twice"),
            ("cpu;gate=cuda", r#"execution providers are given for role "gate" (expected one of: detector, "#),
        ] {
            let error = text.parse::<Providers>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn results_are_named_by_what_can_change_them() {
        for (text, expected) in [
            ("cpu", "cpu"),
            ("cuda:1,cpu", "cuda,cpu"),
            ("cuda:1,cuda:0", "cuda"),
            ("tensorrt:2/fp16,cuda:2", "tensorrt/fp16,cuda"),
            ("openvino:GPU", "openvino:GPU"),
            ("cuda:0;swapper=cuda:1", "cuda"),
            ("cpu;swapper=cuda:1", "cpu;swapper=cuda"),
        ] {
            assert_eq!(read(text).identity(), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_work_is_left_out_or_refused() {
        let no_gpu =
            |provider: &Provider| (provider.kind != ProviderKind::Cpu).then(|| format!("{provider}: no driver"));
        assert_eq!(read("tensorrt,cuda,cpu;swapper=cuda,cpu").without(no_gpu).unwrap().to_string(), "cpu;swapper=cpu");
        let error = read("cpu;swapper=tensorrt,cuda:1").without(no_gpu).unwrap_err().to_string();
        assert_eq!(
            error,
            "no execution provider of tensorrt,cuda:1 can be used here: tensorrt: no driver; cuda:1: no driver (expected \
             one that works; with cpu at the end there always is one)"
        );
    }
}
