//! Files for the site: lines for `kms.properties`, a systemd drop-in, a sysctl file; and what verifies them.

use super::{properties, verify};
use crate::input::field;
use crate::plan::Plan;

/// One file.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub text: String,
}

/// All of them.
pub fn all(plan: &Plan) -> Vec<File> {
    vec![
        File {
            name: "kms.properties",
            text: properties::commented(plan),
        },
        File {
            name: "kms.service.d-capacity.conf",
            text: drop_in(plan),
        },
        File {
            name: "90-kms.conf",
            text: sysctl(plan),
        },
        File {
            name: "verify.sh",
            text: verify::commands(plan).join("\n") + "\n",
        },
    ]
}

fn drop_in(plan: &Plan) -> String {
    let memory = &plan.memory;
    // A tenth more than is locked, in whole MiB.
    let locked = (memory.locked.value() * 1.1 / f64::from(1 << 20)).ceil();
    format!(
        "# Copy to /etc/systemd/system/kms.service.d/capacity.conf, then: systemctl daemon-reload && systemctl restart kms\n\
         [Service]\n\
         # The server locks {:.0} bytes.\n\
         LimitMEMLOCK={locked:.0}M\n\
         # 1.2 x client connections, and those to the HSMs.\n\
         LimitNOFILE={:.0}\n\
         LimitCORE=0\n",
        memory.locked.value(),
        memory.files.value()
    )
}

fn sysctl(plan: &Plan) -> String {
    let handshakes = plan
        .scenario("peak")
        .map_or(0.0, |peak| peak.handshakes.value());
    let stormy = plan.site.opt(&field::STORM_DEVICES).map_or(0.0, |devices| {
        devices.value() / plan.site.get(&field::STORM_WINDOW_S).value() / plan.design.nodes.value()
    });
    // Connections that may come in while the acceptor is away for a tenth of a second, tenfold.
    let backlog = (handshakes + stormy)
        .max(1024.0)
        .log2()
        .ceil()
        .exp2()
        .clamp(1024.0, 65_536.0);
    format!(
        "# Copy to /etc/sysctl.d/90-kms.conf, then: sysctl --system\n\
         # New connections that wait to be accepted.\n\
         net.core.somaxconn = {backlog:.0}\n\
         net.ipv4.tcp_max_syn_backlog = {backlog:.0}\n\
         # Idle HSM connections keep their window.\n\
         net.ipv4.tcp_slow_start_after_idle = 0\n\
         # Keys are in memory that is never swapped; nothing else of the server should be either.\n\
         vm.swappiness = 1\n\
         # No core dump of a process that changed its user.\n\
         fs.suid_dumpable = 0\n"
    )
}
