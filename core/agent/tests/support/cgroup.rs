//! A memory limit as a container has it, on either version of control groups.

use std::fs;
use std::path::PathBuf;

/// A control group with a memory limit; removed when dropped, so drop what runs in it before.
pub struct Cgroup {
    path: PathBuf,
    second: bool,
}

impl Cgroup {
    /// A group below that of this process; none where that cannot be made.
    pub fn new(name: &str, limit: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut lines = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        });
        let first =
            lines.clone().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
        let (base, second) = match first {
            Some((_, path)) => (format!("/sys/fs/cgroup/memory{path}"), false),
            None => {
                let (_, path) = lines.find(|(controllers, _)| controllers.is_empty())?;
                (format!("/sys/fs/cgroup{path}"), true)
            }
        };
        let path = PathBuf::from(base).join(format!("kubetether-{}-{name}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self { path, second };
        fs::write(group.path.join(group.pick("memory.limit_in_bytes", "memory.max")), limit.to_string())
            .ok()?;
        Some(group)
    }

    /// Words in front of a command that put it into the group.
    pub fn enter(&self) -> [String; 4] {
        let line = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.path.display());
        ["sh".to_owned(), "-c".to_owned(), line, "sh".to_owned()]
    }

    /// Bytes in use, kernel memory and page cache among them.
    pub fn usage(&self) -> u64 {
        self.number(self.pick("memory.usage_in_bytes", "memory.current"))
    }

    /// The most bytes that were in use; the present ones where the kernel does not tell.
    pub fn peak(&self) -> u64 {
        let name = self.pick("memory.max_usage_in_bytes", "memory.peak");
        if self.path.join(name).exists() { self.number(name) } else { self.usage() }
    }

    /// How many processes the kernel has killed for want of memory.
    pub fn killed(&self) -> u64 {
        let text =
            fs::read_to_string(self.path.join(self.pick("memory.oom_control", "memory.events"))).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap();
        line.parse().unwrap()
    }

    fn number(&self, name: &str) -> u64 {
        fs::read_to_string(self.path.join(name)).unwrap().trim().parse().unwrap()
    }

    fn pick(&self, first: &'static str, second: &'static str) -> &'static str {
        if self.second { second } else { first }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever was in it may take a moment to be gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
