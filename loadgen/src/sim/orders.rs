//! What orders on the control socket do: faults on and off, settings, figures.
//!
//! Must never be true: an order that half happens. Called by the event loop.

use hdrhistogram::Histogram;

use super::fault::{FaultKind, FaultOrder};
use super::plan::Totals;
use super::preset::SETTABLE;
use super::server::Sim;
use super::station::ns_of_ms;
use super::timers::Due;

/// One line for people.
const HELP: &str = "orders: FAULT [MS] [count=N] [p=P] [for=MS] | clear [FAULT] | set NAME VALUE | status | reset | stop | help; faults:";

impl Sim {
    /// Does what one line says. The answer, or why it cannot be.
    pub(super) fn obey(&mut self, text: &str) -> Result<String, String> {
        let mut words = text.split_whitespace();
        match words.next().unwrap_or_default() {
            "help" => {
                let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
                Ok(format!("{HELP} {}; settings: {SETTABLE}", names.join(", ")))
            }
            "status" => Ok(self.status().to_string()),
            "reset" => {
                self.hsm.totals = Totals::default();
                self.modelled_ns.reset();
                self.service_ns.reset();
                Ok(String::new())
            }
            "stop" => {
                self.is_stopping = true;
                Ok(String::new())
            }
            "clear" => {
                let kind = words.next().map(FaultOrder::parse).transpose()?;
                let cleared = self.hsm.faults.clear(kind.map(|order| order.kind));
                self.end_faults();
                Ok(format!("ok, {cleared} cleared"))
            }
            "set" => match (words.next(), words.next(), words.next()) {
                (Some(name), Some(value), None) => self.set(name, value),
                _ => Err(format!("set takes a name and a value; names: {SETTABLE}")),
            },
            _ => {
                let order = FaultOrder::parse(text)?;
                if order.kind == FaultKind::ClockSkew && self.shown.expired.is_none() {
                    return Err(
                        "there are no certificates with wrong dates; start with --write-site"
                            .to_owned(),
                    );
                }
                self.add_fault(order);
                Ok(String::new())
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<String, String> {
        let mut model = self.station.model().clone();
        model.set(name, value)?;
        let said = format!("ok: {model}");
        self.station.set_model(model, self.seed);
        Ok(said)
    }

    /// Address, model, counts, service times and faults, for people and programs.
    pub fn status(&self) -> serde_json::Value {
        let faults: serde_json::Map<String, serde_json::Value> = self
            .hsm
            .faults
            .struck()
            .map(|(name, struck)| (name.to_owned(), struck.into()))
            .collect();
        serde_json::json!({
            "address": self.address.to_string(),
            "model": self.station.model().to_string(),
            "objects": self.hsm.store.len(),
            "connections": self.conns.iter().flatten().count(),
            "accepted": self.accepted,
            "totals": self.hsm.totals,
            "modelled_us": quantiles_us(&self.modelled_ns),
            "service_us": quantiles_us(&self.service_ns),
            "faults": faults,
        })
    }

    /// Turns a fault on, with what happens at once.
    pub(super) fn add_fault(&mut self, order: FaultOrder) {
        let now_ns = self.now().ns;
        let freezes_all = order.count.is_none() && order.probability >= 1.0;
        let kind = order.kind;
        self.hsm.faults.add(order, now_ns);
        match kind {
            FaultKind::Failover => {
                self.listener = None;
                self.drop_all();
            }
            FaultKind::ClockSkew => self.drop_all(),
            FaultKind::HalfOpen if freezes_all => {
                self.any_frozen = true;
                for conn in self.conns.iter_mut().flatten() {
                    conn.is_frozen = true;
                }
            }
            _ => {}
        }
    }

    fn drop_all(&mut self) {
        for place in 0..self.conns.len() {
            self.close(place, false);
        }
    }

    /// Puts right what faults that are over have left.
    pub(super) fn end_faults(&mut self) {
        let now_ns = self.now().ns;
        self.hsm.faults.expire(now_ns);
        let is_on = |kind| self.hsm.faults.get(kind).is_some();
        let (stalled, away, half_open) = (
            is_on(FaultKind::Stall),
            is_on(FaultKind::Failover),
            is_on(FaultKind::HalfOpen),
        );
        if !stalled && !self.held.is_empty() {
            for due in std::mem::take(&mut self.held) {
                self.happen(due);
            }
        }
        if !away
            && self.listener.is_none()
            && let Err(error) = self.listen()
        {
            log::warn!("{} cannot be listened on again yet: {error}", self.address);
        }
        if !half_open && self.any_frozen {
            self.any_frozen = false;
            for place in 0..self.conns.len() {
                let frozen = self.conns.get(place).and_then(Option::as_ref);
                if frozen.is_some_and(|conn| conn.is_frozen) {
                    self.close(place, false);
                }
            }
        }
    }

    /// Sets the time of the model's next pause.
    pub(super) fn plan_stall(&mut self) {
        if let Some(stalls) = self.station.model().stalls {
            let at_ns = self
                .now()
                .ns
                .saturating_add(ns_of_ms(stalls.every_s * 1000.0));
            self.timers.set(at_ns, Due::Stall);
        }
    }
}

fn quantiles_us(ns: &Histogram<u64>) -> serde_json::Value {
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let us = |quantile: f64| ns.value_at_quantile(quantile) as f64 / 1000.0;
    serde_json::json!({ "p50": us(0.5), "p99": us(0.99), "max": us(1.0) })
}
