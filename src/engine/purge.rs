//! Dropping cached plaintexts at an operator's word.

use super::Engine;

impl Engine {
    /// Drops the cached plaintexts of all versions of the key `name`, or all. What is being fetched now does not come
    /// back into the cache. False: no such key was ever asked for here, so nothing of it is cached.
    pub fn purge(&self, name: Option<&str>) -> bool {
        let Some(name) = name else {
            log::info!("all cached plaintexts are dropped, as ordered");
            self.cache.purge_all();
            return true;
        };
        let Some(families) = self.keys.families(name) else {
            return false;
        };
        log::info!("the cached plaintexts of key {name} are dropped, as ordered");
        for family in &families {
            self.cache.purge_family(*family);
        }
        true
    }
}
