//! The carried form, as a pod under the strictest settings runs it: some uid, no capability, nothing in its root
//! but itself, no /proc, little memory.
//!
//! Needs root to make such a place, and the carried form itself: `make agent-test` gives both.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::process::Command;

mod support;

use support::{Agent, Start, until};

const USER: u32 = 65532;
/// What `ulimit -v` counts, in bytes: the text, data, stacks and heap of the agent together.
const ADDRESS_SPACE: u64 = 32 << 20;

/// A root directory with the carried agent in it and nothing else.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let carried = std::env::var_os("KUBETETHER_AGENT_CARRIED").expect("set by `make agent-test`");
        let root = std::env::temp_dir().join(format!("kubetether-carried-{}-{name}", std::process::id()));
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(carried, root.join("agent")).unwrap();
        fs::set_permissions(root.join("agent"), fs::Permissions::from_mode(0o555)).unwrap();
        Self(root)
    }

    /// A command that runs the agent in this root, with `before` in front.
    fn command(&self, before: &[&str]) -> Command {
        let limit = format!("--as={ADDRESS_SPACE}");
        let user = format!("--userspec={USER}:{USER}");
        let mut words = before.to_vec();
        words.extend(["setpriv", "--no-new-privs", "--clear-groups", "prlimit", &limit, "chroot", &user]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&self.0).arg("/agent");
        command
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process namespace of its own where memory may not be executed, as on a node with `vm.memfd_noexec=2`.
const NO_EXECUTABLE_MEMORY: &[&str] = &[
    "unshare",
    "--fork",
    "--pid",
    "--mount-proc",
    "--kill-child",
    "sh",
    "-c",
    "echo 2 > /proc/sys/vm/memfd_noexec && exec \"$@\"",
    "sh",
];

fn assert_running(agent: &Agent) {
    assert_eq!(agent.status_field("Uid:"), USER.to_string());
    assert_eq!(agent.status_field("CapEff:"), "0000000000000000");
    assert_eq!(agent.status_field("NoNewPrivs:"), "1");
    let resident: u64 = agent.status_field("VmRSS:").parse().unwrap();
    assert!(resident < 16 << 10, "{resident} KiB resident at rest");
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn runs_from_an_empty_root() {
    let root = Root::new("empty");
    let start = Start::command(root.command(&[]), "gateway");
    let agent = start.ready().await;
    assert_running(&agent);
    let program = fs::read_link(format!("/proc/{}/exe", agent.pid())).unwrap();
    assert!(program.to_string_lossy().starts_with("/memfd:kubetether-agent"), "{program:?}");
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn passes_its_environment_and_arguments_on() {
    let root = Root::new("environment");
    let mut agent = Start::command(root.command(&[]), "spy").spawn();
    assert_eq!(agent.ended().await, Some(2));
    until("the error is told", async || agent.log().contains("KUBETETHER_ROLE").then_some(())).await;
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn unpacks_to_a_directory_where_memory_may_not_be_executed() {
    let root = Root::new("noexec");
    let scratch = root.0.join("scratch");
    fs::create_dir(&scratch).unwrap();
    chown(&scratch, Some(USER), Some(USER)).unwrap();
    for _ in 0..2 {
        // The second time over the file of the first.
        let start = Start::command(root.command(NO_EXECUTABLE_MEMORY), "gateway")
            .env("KUBETETHER_UNPACK", "/scratch");
        let _agent = start.ready().await;
        assert!(Path::new(&scratch.join("kubetether-agent")).exists());
    }
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn tells_what_to_do_where_it_cannot_unpack() {
    let root = Root::new("nowhere");
    let mut agent = Start::command(root.command(NO_EXECUTABLE_MEMORY), "gateway").spawn();
    assert_eq!(agent.ended().await, Some(112));
    until("the way out is told", async || agent.log().contains("KUBETETHER_UNPACK").then_some(())).await;
    assert!(agent.log().contains("EACCES"), "{}", agent.log());

    let missing =
        Start::command(root.command(NO_EXECUTABLE_MEMORY), "gateway").env("KUBETETHER_UNPACK", "/not-there");
    let mut agent = missing.spawn();
    assert_eq!(agent.ended().await, Some(113));
    until("the directory is named", async || agent.log().contains("/not-there").then_some(())).await;
}

#[tokio::test]
#[ignore = "needs root and the carried form: make agent-test"]
async fn as_process_1_it_hears_sigterm_from_its_first_instruction_on() {
    const OWN_PROCESSES: &[&str] = &["unshare", "--fork", "--pid", "--kill-child"];
    let allowed = Command::new(OWN_PROCESSES[0]).args(&OWN_PROCESSES[1..]).arg("true").status().await;
    if !allowed.unwrap().success() {
        println!("left out: no process namespaces here");
        return;
    }
    let root = Root::new("term");
    let mut unpacking = 0;
    // While it unpacks, when it has just become the agent, and later.
    for delay in [0, 1, 2, 5, 10, 15, 20, 30, 50, 100, 200] {
        let mut agent = Start::command(root.command(OWN_PROCESSES), "gateway").spawn();
        let unshare = agent.pid();
        let one = until("process 1 is ours and can be asked to end", async || {
            let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
            let one: u32 = children.trim().parse().ok()?;
            (fs::read(format!("/proc/{one}/cmdline")).ok()? == b"/agent\0" && hears(one)?).then_some(one)
        })
        .await;
        let program = fs::read_link(format!("/proc/{one}/exe")).unwrap();
        unpacking += u32::from(program.ends_with("agent"));
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        assert!(
            std::process::Command::new("kill").args(["-TERM", &one.to_string()]).status().unwrap().success()
        );
        assert_eq!(agent.ended().await, Some(0), "after {delay} ms: {}", agent.log());
    }
    assert!(unpacking > 0, "it never heard before it was unpacked");
}

/// Whether a process keeps SIGTERM for later or has a handler for it.
fn hears(process: u32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let hears = ["SigBlk:", "SigCgt:"].into_iter().any(|name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & 1 << 14 != 0)
    });
    Some(hears)
}
