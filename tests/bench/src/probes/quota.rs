//! A process held to a share of one CPU (control groups, version 1 or 2).

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The quota's period: the kernel's own default.
const PERIOD_US: u32 = 100_000;

/// Holds as long as it lives.
pub(super) struct Quota {
    group: PathBuf,
    back: PathBuf,
    id: u32,
}

impl Quota {
    /// Holds process `id` to `percent` of one CPU, all its threads together.
    pub(super) fn of(id: u32, percent: u32) -> anyhow::Result<Self> {
        let name = format!("pnwatch-bench-{}-{id}", std::process::id());
        let quota = PERIOD_US / 100 * percent;
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (root, files) = if first.is_dir() {
            let files = vec![
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (first, files)
        } else {
            let files = vec![("cpu.max", format!("{quota} {PERIOD_US}"))];
            (Path::new("/sys/fs/cgroup"), files)
        };
        let group = root.join(name);
        std::fs::create_dir(&group).with_context(|| format!("{}: needs root", group.display()))?;
        let held = Self {
            back: root.join("cgroup.procs"),
            group,
            id,
        };
        for (file, value) in files {
            let path = held.group.join(file);
            std::fs::write(&path, value).with_context(|| path.display().to_string())?;
        }
        std::fs::write(held.group.join("cgroup.procs"), id.to_string())?;
        Ok(held)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It may have ended; an empty group is all that has to go.
        let _ = std::fs::write(&self.back, self.id.to_string());
        let _ = std::fs::remove_dir(&self.group);
    }
}
