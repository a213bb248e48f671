//! A number that knows where it came from: its name, unit, error, and the formula and inputs that gave it.
//!
//! A derived quantity is made from the values of the quantities it names as its inputs, and of nothing
//! else that is a number; so the graph of them, walked by [`explain`], is the calculation itself and not a
//! text about it. Must never be true: a value computed from a number that is not among its inputs.

mod explain;
mod unit;

use std::borrow::Cow;
use std::sync::Arc;

pub use explain::{explain, find, origin_line, vouched};
pub use unit::{Unit, number};

/// How far a formula is off from what happens, measured against simulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// Arithmetic: its error is that of its inputs.
    Exact,
    /// Share of the value.
    Relative(f64),
    /// In the value's own unit.
    Absolute(f64),
}

/// What vouches for a formula's stated error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// Nothing need: it is exact.
    Arithmetic,
    /// This test, against a seeded simulation or the server's own code.
    Test(&'static str),
    /// `kms-tune validate`, against the running server.
    Validate,
    /// Nothing: experience, or what was measured once.
    Judgement,
}

/// What a derivation does, for people; the code stands beside it.
#[derive(Debug, PartialEq)]
pub struct Formula {
    /// In terms of the inputs' names, as far as they fit a line.
    pub text: &'static str,
    /// Whose formula it is, or why it holds.
    pub source: &'static str,
    /// How far off it is.
    pub error: Error,
    /// Where that error holds.
    pub domain: &'static str,
    /// What vouches for it.
    pub held: Held,
}

impl Formula {
    /// Plain arithmetic.
    pub const fn arithmetic(text: &'static str) -> Self {
        Self {
            text,
            source: "arithmetic",
            error: Error::Exact,
            domain: "always",
            held: Held::Arithmetic,
        }
    }
}

/// Where a quantity came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Somebody wrote it: the file and field, or the flag.
    Given(String),
    /// Nobody wrote it; why this value.
    Assumed(Cow<'static, str>),
    /// `kms-tune calibrate`, or a running node: the file or address.
    Measured(String),
    /// Worked out.
    Derived(&'static Formula),
    /// The search took it; why.
    Chosen(String),
}

#[derive(Debug)]
struct Node {
    name: String,
    value: f64,
    unit: Unit,
    /// Half width of the band that the value lies in, in its own unit.
    error: f64,
    origin: Origin,
    inputs: Vec<Quantity>,
}

/// A named number with its unit, error and derivation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Quantity(Arc<Node>);

impl Quantity {
    fn leaf(name: impl Into<String>, value: f64, unit: Unit, origin: Origin) -> Self {
        Self(Arc::new(Node {
            name: name.into(),
            value,
            unit,
            error: 0.0,
            origin,
            inputs: Vec::new(),
        }))
    }

    /// What somebody wrote at `place`.
    pub fn given(
        name: impl Into<String>,
        value: f64,
        unit: Unit,
        place: impl Into<String>,
    ) -> Self {
        Self::leaf(name, value, unit, Origin::Given(place.into()))
    }

    /// What nobody wrote.
    pub fn assumed(
        name: impl Into<String>,
        value: f64,
        unit: Unit,
        why: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::leaf(name, value, unit, Origin::Assumed(why.into()))
    }

    /// What was measured, within `error` of its own unit.
    pub fn measured(
        name: impl Into<String>,
        value: f64,
        unit: Unit,
        error: f64,
        place: impl Into<String>,
    ) -> Self {
        Self(Arc::new(Node {
            name: name.into(),
            value,
            unit,
            error,
            origin: Origin::Measured(place.into()),
            inputs: Vec::new(),
        }))
    }

    /// What a search settled on, in view of `inputs`.
    pub fn chosen(
        name: impl Into<String>,
        value: f64,
        unit: Unit,
        why: impl Into<String>,
        inputs: &[&Quantity],
    ) -> Self {
        Self(Arc::new(Node {
            name: name.into(),
            value,
            unit,
            error: 0.0,
            origin: Origin::Chosen(why.into()),
            inputs: inputs.iter().map(|input| (*input).clone()).collect(),
        }))
    }

    /// Works a value out from the values of `inputs`.
    pub fn derive<const N: usize>(
        name: impl Into<String>,
        unit: Unit,
        formula: &'static Formula,
        inputs: [&Quantity; N],
        compute: impl Fn([f64; N]) -> f64,
    ) -> Self {
        Solved::by(inputs, compute).quantity(name, unit, formula, |value| *value)
    }

    /// What a whole program gave that was run once on `inputs`: a search, another program's plan. Errors do not
    /// go through it; the formula's own stands for all.
    pub fn outcome(
        name: impl Into<String>,
        unit: Unit,
        formula: &'static Formula,
        inputs: &[&Quantity],
        value: f64,
    ) -> Self {
        let solved = Solved {
            result: value,
            shifted: Vec::new(),
            inputs: inputs.iter().map(|input| (*input).clone()).collect(),
        };
        solved.quantity(name, unit, formula, |value| *value)
    }

    /// The same, taken as certain: what is worked out from it is so once, not once more for its error.
    #[must_use]
    pub fn firm(&self) -> Self {
        let node = &*self.0;
        Self(Arc::new(Node {
            name: node.name.clone(),
            value: node.value,
            unit: node.unit,
            error: 0.0,
            origin: node.origin.clone(),
            inputs: node.inputs.clone(),
        }))
    }

    /// The same under another name.
    #[must_use]
    pub fn renamed(&self, name: impl Into<String>) -> Self {
        static SAME: Formula = Formula::arithmetic("the same");
        Self::derive(name, self.unit(), &SAME, [self], |[value]| value)
    }

    /// As an output or input is called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The number.
    pub fn value(&self) -> f64 {
        self.0.value
    }

    /// Of the number.
    pub fn unit(&self) -> Unit {
        self.0.unit
    }

    /// Half width of the band that the value lies in, in its own unit.
    pub fn error(&self) -> f64 {
        self.0.error
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// What it was worked out from.
    pub fn inputs(&self) -> &[Quantity] {
        &self.0.inputs
    }

    /// Value and unit.
    pub fn shown(&self) -> String {
        self.unit().show(self.value())
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What several quantities are read from at once: a result, and the same with each uncertain input at the
/// upper end of its band, so that errors go through the calculation itself.
pub struct Solved<T> {
    result: T,
    shifted: Vec<T>,
    inputs: Vec<Quantity>,
}

impl<T> Solved<T> {
    /// Runs `solve` on the values of `inputs`.
    pub fn by<const N: usize>(inputs: [&Quantity; N], solve: impl Fn([f64; N]) -> T) -> Self {
        let values = inputs.map(Quantity::value);
        let shifted = (0..N).filter(|&at| inputs[at].error() > 0.0).map(|at| {
            let mut moved = values;
            moved[at] += inputs[at].error();
            solve(moved)
        });
        Self {
            shifted: shifted.collect(),
            result: solve(values),
            inputs: inputs.into_iter().cloned().collect(),
        }
    }

    /// The result itself.
    pub fn result(&self) -> &T {
        &self.result
    }

    /// One number of it. Independent errors add up as squares.
    pub fn quantity(
        &self,
        name: impl Into<String>,
        unit: Unit,
        formula: &'static Formula,
        read: impl Fn(&T) -> f64,
    ) -> Quantity {
        let value = read(&self.result);
        let own = match formula.error {
            Error::Exact => 0.0,
            Error::Relative(share) => share * value.abs(),
            Error::Absolute(width) => width,
        };
        let from_inputs = self.shifted.iter().map(|moved| {
            let by = read(moved) - value;
            if by.is_finite() { by * by } else { 0.0 }
        });
        Quantity(Arc::new(Node {
            name: name.into(),
            value,
            unit,
            error: (own * own + from_inputs.sum::<f64>()).sqrt(),
            origin: Origin::Derived(formula),
            inputs: self.inputs.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SUM: Formula = Formula::arithmetic("a + b");
    static GUESS: Formula = Formula {
        text: "a b",
        source: "a guess",
        error: Error::Relative(0.04),
        domain: "here",
        held: Held::Judgement,
    };

    fn near(got: f64, want: f64) -> bool {
        (got - want).abs() < 1e-9 * want.abs().max(1.0)
    }

    #[test]
    fn errors_go_through_the_calculation() {
        let a = Quantity::measured("a", 10.0, Unit::Factor, 0.3, "bench");
        let b = Quantity::given("b", 2.0, Unit::Factor, "site.toml");
        let sum = Quantity::derive("sum", Unit::Factor, &SUM, [&a, &b], |[a, b]| a + b);
        assert!(near(sum.value(), 12.0) && near(sum.error(), 0.3));
        let product = Quantity::derive("product", Unit::Factor, &GUESS, [&a, &b], |[a, b]| a * b);
        // 4 % of 20, and 0.3 * 2.
        assert!(near(product.error(), 0.8_f64.hypot(0.6)), "{product:?}");
        let square = Quantity::derive("square", Unit::Factor, &SUM, [&sum, &sum], |[x, y]| x * y);
        assert!(square.error() > 4.0, "{square:?}");
    }

    #[test]
    fn several_numbers_come_of_one_solution() {
        let a = Quantity::given("a", 3.0, Unit::Factor, "x");
        let solved = Solved::by([&a], |[a]| (a + 1.0, a * 2.0));
        let (first, second) = (
            solved.quantity("first", Unit::Factor, &SUM, |pair| pair.0),
            solved.quantity("second", Unit::Factor, &SUM, |pair| pair.1),
        );
        assert!(near(first.value(), 4.0) && near(second.value(), 6.0));
        assert!(first.inputs()[0].is(&a) && second.inputs()[0].is(&a));
    }
}
