//! Network namespaces of containers that ask for no network, kept and used again.
//!
//! Making one and removing it is more than half of what a short container costs. Docker's engine starts its own
//! program twice for it. So a holder, a container that does nothing else, keeps one, and the steps of a run take
//! turns in it. Two containers are never in one at the same time: a container has ended when the next one gets its
//! namespace. A step finds only two things of an earlier one: connections that the kernel has not forgotten yet, and
//! the host name. A holder carries the labels of the run, and goes with it.

use std::collections::HashMap;
use std::pin::pin;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptions, StartContainerOptions};
use futures_util::StreamExt as _;
use parking_lot::{Mutex, MutexGuard};

use super::run::{ContainerCommand, RUN_LABEL, STATE_LABEL};
use super::{Engine, api};
use crate::container::ContainerError;

/// The image of holders; its tag changes with the program in it.
const IMAGE: &str = "sb-network";
const TAG: &str = "1";
const PROGRAM: &str = "hold";
/// Each costs the engine a process of some ten megabytes: as many as are likely to be needed at the same moment.
const MOST: usize = 16;

/// The namespaces that this process has.
#[derive(Debug, Default)]
pub(super) struct Networks(Mutex<KnownHolder>);

#[derive(Debug, Default)]
struct KnownHolder {
    /// A container was started: another one follows it, most likely.
    begun: bool,
    /// The engine refused to make one.
    refused: bool,
    /// Ids of holders whose namespace is empty.
    free: Vec<String>,
    /// The holder of each container's namespace, by the container's name.
    taken: HashMap<String, String>,
}

impl Networks {
    fn known(&self) -> MutexGuard<'_, KnownHolder> {
        self.0.lock()
    }

    /// Of a container that has ended.
    pub(super) fn give_back(&self, name: &str) {
        let known = &mut *self.known();
        known.free.extend(known.taken.remove(name));
    }

    /// The engine was out of reach: its holders may have ended with it.
    pub(super) fn forget(&self) {
        self.known().free.clear();
    }
}

impl Engine {
    /// Finds a namespace for the container `name`, unless it asks for a network, or nothing came before it (a step alone
    /// is faster without), or the engine keeps none for us: then it gets one of its own.
    pub(super) async fn borrow_network(&self, name: &str, command: &ContainerCommand) {
        if self.is_podman || command.network.is_some() {
            return;
        }
        let Some(program) = self.architecture.as_deref().and_then(holder_program) else { return };
        let holder = {
            let known = &mut *self.networks.known();
            if !std::mem::replace(&mut known.begun, true) || known.refused {
                return;
            }
            match known.free.pop() {
                None if known.taken.len() >= MOST => return,
                free => free,
            }
        };
        let holder = match holder {
            Some(holder) => Ok(holder),
            None => self.hold(command, program).await,
        };
        let known = &mut *self.networks.known();
        match holder {
            Ok(holder) => drop(known.taken.insert(name.to_owned(), holder)),
            Err(error) => known.refused |= !error.is_connection(),
        }
    }

    /// What the container `name` is to join, in the words of the engine.
    pub(super) fn borrowed_network(&self, name: &str) -> Option<String> {
        self.networks.known().taken.get(name).map(|holder| format!("container:{holder}"))
    }

    /// Whether the namespace is gone that the container `name` was to join: then it is forgotten, and the container gets one
    /// of its own.
    pub(super) async fn has_lost_network(&self, name: &str) -> Result<bool, ContainerError> {
        let Some(holder) = self.networks.known().taken.get(name).cloned() else { return Ok(false) };
        if self.inspect(&holder).await?.is_some_and(|seen| seen.state.running == Some(true)) {
            return Ok(false);
        }
        self.networks.known().taken.remove(name);
        self.remove_soon(holder);
        Ok(true)
    }

    /// A new namespace, kept by a container with the labels of the command's run.
    async fn hold(&self, command: &ContainerCommand, program: Vec<u8>) -> Result<String, ContainerError> {
        let image = self.holder_image(program).await?;
        let labels = [RUN_LABEL, STATE_LABEL]
            .into_iter()
            .filter_map(|label| Some((label.to_owned(), command.labels.get(label)?.clone())))
            .collect();
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(vec![format!("/{PROGRAM}")]),
            user: Some("65534:65534".to_owned()),
            labels: Some(labels),
            // It hears no other.
            stop_signal: Some("SIGKILL".to_owned()),
            host_config: Some(HostConfig {
                cap_drop: Some(vec!["ALL".to_owned()]),
                readonly_rootfs: Some(true),
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let making = || api("making a network namespace");
        let made = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = made.map_err(making())?.id;
        match self.docker.start_container(&id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(id),
            Err(error) => {
                self.remove_soon(id);
                Err(making()(error))
            }
        }
    }

    async fn holder_image(&self, program: Vec<u8>) -> Result<String, ContainerError> {
        let reference = format!("{IMAGE}:{TAG}");
        let lock = self.making(&reference);
        let _only_one = lock.lock().await;
        if let Some(id) = self.image_id(&reference).await? {
            return Ok(id);
        }
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(program.len() as u64);
        let file = tar.append_data(&mut header, PROGRAM, program.as_slice());
        let tar = file.and_then(|()| tar.into_inner()).map_err(|source| ContainerError::Api {
            doing: "packing the image of network namespaces".to_owned(),
            source: source.into(),
        })?;
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(IMAGE.to_owned()),
            tag: Some(TAG.to_owned()),
            ..Default::default()
        };
        let body = bollard::body_full(tar.into());
        let mut steps = pin!(self.docker.create_image(Some(options), Some(body), None));
        while let Some(step) = steps.next().await {
            step.map_err(api(format!("making image `{reference}`")))?;
        }
        Ok(reference)
    }
}

/// The smallest program that waits until it is killed, for Linux on this architecture (in Docker's words): an ELF header, one
/// segment, and a loop around one system call. It needs nothing of an image.
fn holder_program(architecture: &str) -> Option<Vec<u8>> {
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    /// Of the largest pages that Linux has on arm64.
    const PAGE: u64 = 0x1_0000;
    let (machine, code): (u16, &[u8]) = match architecture {
        // mov eax, 34 (pause); syscall; jmp back
        "amd64" => (62, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]),
        // ppoll(NULL, 0, NULL, NULL): x0 to x3 = 0; x8 = 73; svc 0; branch back
        "arm64" => (
            183,
            &[
                0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80,
                0xd2, 0x28, 0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xfa, 0xff, 0xff, 0x17,
            ],
        ),
        _ => return None,
    };
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // elf(5), Elf64_Ehdr: an executable, its machine, version, entry, where the program headers are, no sections, no flags.
    put(&2_u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes());
    put(&(BASE + HEADERS).to_le_bytes());
    put(&64_u64.to_le_bytes());
    put(&0_u64.to_le_bytes());
    put(&0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 0, 0, 0] {
        put(&number.to_le_bytes());
    }
    // Elf64_Phdr: the whole file, to be read and executed.
    put(&1_u32.to_le_bytes());
    put(&5_u32.to_le_bytes());
    for number in [0, BASE, BASE, size, size, PAGE] {
        put(&number.to_le_bytes());
    }
    put(code);
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_holder_waits_until_it_is_killed() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::os::unix::process::ExitStatusExt as _;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            _ => return,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRAM);
        std::fs::write(&path, holder_program(architecture).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(holder_program("s390x"), None);
    }
}
