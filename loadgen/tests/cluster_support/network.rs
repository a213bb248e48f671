//! Two network namespaces on one bridge, which can be cut off from each other and not from this one: as when a site's
//! two halves lose each other, and both still reach the HSM.
//!
//! Needs root, and `ip` of iproute2. Must never be true: a namespace or a bridge left behind.

use std::path::{Path, PathBuf};

use crate::support::redis::Stand;
use crate::support::try_run;

pub struct Network {
    number: u32,
}

fn ip(words: &str) -> (bool, String) {
    let words: Vec<&str> = words.split(' ').collect();
    try_run(Path::new("/"), "ip", &words, "")
}

fn must(words: &str) {
    let (done, said) = ip(words);
    assert!(
        done,
        "ip {words}: {said}\nThis test makes network namespaces: run it as root, on a kernel with veth and bridge"
    );
}

impl Network {
    pub fn new() -> Self {
        // Two of these tests may run at once.
        let network = Self {
            number: std::process::id() % 250,
        };
        let number = network.number;
        must(&format!("link add kms{number} type bridge"));
        must(&format!("addr add 198.18.{number}.1/24 dev kms{number}"));
        must(&format!("link set kms{number} up"));
        for side in 0..2 {
            let (name, outside) = (network.name(side), network.outside(side));
            must(&format!("netns add {name}"));
            must(&format!(
                "link add {outside} type veth peer name eth0 netns {name}"
            ));
            must(&format!("link set {outside} master kms{number} up"));
            let host = network.host(side);
            for inside in [
                "link set lo up".to_owned(),
                format!("addr add {host}/24 dev eth0"),
                "link set eth0 up".to_owned(),
            ] {
                must(&format!("-n {name} {inside}"));
            }
        }
        network
    }

    /// Address of this namespace on the bridge.
    pub fn here(&self) -> String {
        format!("198.18.{}.1", self.number)
    }

    fn host(&self, side: usize) -> String {
        format!("198.18.{}.{}", self.number, side + 2)
    }

    fn name(&self, side: usize) -> String {
        format!("kms{}-{side}", self.number)
    }

    fn outside(&self, side: usize) -> String {
        format!("kms{}s{side}", self.number)
    }

    /// The place on this side: 0 or 1.
    pub fn stand(&self, side: usize) -> Stand {
        Stand {
            host: self.host(side),
            namespace: Some(self.name(side)),
        }
    }

    /// Programs of this side ask names here.
    pub fn name_server(&self, side: usize) {
        let folder = self.names(side);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("nameserver {}\noptions timeout:5 attempts:3\n", self.here());
        std::fs::write(folder.join("resolv.conf"), text).unwrap();
    }

    /// Where `ip netns exec` looks for files that stand in for those of /etc.
    fn names(&self, side: usize) -> PathBuf {
        Path::new("/etc/netns").join(self.name(side))
    }

    /// Both sides reach this namespace and not each other.
    pub fn cut(&self) {
        self.isolate("on");
    }

    pub fn heal(&self) {
        self.isolate("off");
    }

    fn isolate(&self, how: &str) {
        for side in 0..2 {
            let outside = self.outside(side);
            must(&format!(
                "link set dev {outside} type bridge_slave isolated {how}"
            ));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Whatever there is of it.
        for side in 0..2 {
            ip(&format!("netns del {}", self.name(side)));
            let _ = std::fs::remove_dir_all(self.names(side));
        }
        ip(&format!("link del kms{}", self.number));
    }
}
