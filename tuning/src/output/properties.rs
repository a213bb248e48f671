//! The lines of `kms.properties` that the plan decides.

use std::fmt::Write as _;

use crate::input::{Site, field};
use crate::plan::{Design, Plan};
use crate::trace::Quantity;

/// Lines for one node; the rest of its configuration is the site's.
pub fn of(site: &Site, design: &Design, sockets: &Quantity, queue: &Quantity) -> String {
    let whole = |quantity: &Quantity| format!("{:.0}", quantity.value());
    let mut text = String::new();
    for (key, value) in [
        ("kms.cache.entries.max", whole(&design.entries)),
        ("kms.cache.ttl.s", whole(&site.get(&field::TTL_S))),
        ("kms.threads", whole(&design.cores)),
        ("kms.hsm.pool.size", whole(&design.connections)),
        ("kms.hsm.batch.max", whole(&site.get(&field::HSM_BATCH_MAX))),
        ("kms.hsm.queue.max", whole(queue)),
        ("kms.hsm.timeout.ms", whole(&site.get(&field::TIMEOUT_MS))),
        ("kms.connections.max", whole(sockets)),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// The same with a comment that says where they belong.
pub fn commented(plan: &Plan) -> String {
    let memory = &plan.memory;
    let lines = of(&plan.site, &plan.design, &memory.sockets, &memory.queue);
    let mut text = String::from(
        "# Into /etc/kms/kms.properties of each node, in place of lines with these keys.\n# Planned by kms-tune; kms check tells what is in force.\n",
    );
    if plan.design.nodes.value() > 1.5 {
        text += "# Behind a load balancer also kms.server.proxy-protocol = v2 and .from.\n";
    }
    if plan.site.flag(&field::SHARED_CACHE) {
        text += "# The shared cache is configured apart: kms.cache.type = distributed.\n";
    }
    text + &lines
}
