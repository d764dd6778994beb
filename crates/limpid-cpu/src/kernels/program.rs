//! Formulas as the processor runs them: step by step over blocks of numbers
//! that stay in the nearest cache.

use super::math;
use limpid_graph::Formula;
use limpid_graph::formula::{Binary, Step, Unary};
use limpid_graph::ops::Clip;

/// Numbers of a block, a multiple of sixteen.
pub(super) const BLOCK: usize = 512;

/// Where a step finds a number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Operand(usize),
    Register(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Instruction {
    Copy(Place),
    /// To between two bounds; what is no number stays.
    Clip(Place, f32, f32),
    Unary(Unary, Place),
    Binary(Binary, Place, Place),
    Select(Place, Place, Place),
}

/// Where a step's number goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Register(usize),
    Result(usize),
}

/// Formulas with a register for each number that is still needed.
#[derive(Debug, Clone)]
pub(super) struct Program {
    instructions: Vec<(Instruction, To)>,
    /// What is in the first registers all the time.
    constants: Vec<f32>,
    registers: usize,
}

impl Program {
    /// The program of formulas of the same operands, whose results are one
    /// each. Their constants are rounded to f32.
    pub(super) fn new(formulas: &[Formula]) -> Self {
        let (steps, results) = Formula::together(formulas);
        let mut last = vec![0; steps.len()];
        for (i, step) in steps.iter().enumerate() {
            reads(step).into_iter().flatten().for_each(|a| last[a] = i);
        }
        let mut constants = Vec::new();
        let mut places = Vec::with_capacity(steps.len());
        for step in &steps {
            places.push(match step {
                Step::Input(i) => Place::Operand(*i),
                Step::Constant(c) => {
                    constants.push(*c as f32);
                    Place::Register(constants.len() - 1)
                }
                // Known when the step is reached.
                _ => Place::Register(usize::MAX),
            });
        }
        let mut registers = constants.len();
        let (mut free, mut instructions) = (Vec::new(), Vec::new());
        for (i, step) in steps.iter().enumerate() {
            let mut wanted = (0..results.len()).filter(|k| results[*k] == i);
            let instruction = match *step {
                Step::Unary(f, a) => Some(Instruction::Unary(f, places[a])),
                Step::Binary(f, a, b) => Some(Instruction::Binary(f, places[a], places[b])),
                Step::Select(c, a, b) => Some(Instruction::Select(places[c], places[a], places[b])),
                // Leaves are read where they lie.
                Step::Input(_) | Step::Constant(_) => None,
            };
            if let Some(instruction) = instruction {
                // What nobody reads is a result.
                let to = match last[i] > i {
                    false => wanted.next().map(To::Result),
                    true => None,
                };
                let to = to.unwrap_or_else(|| {
                    let register = free.pop().unwrap_or_else(|| {
                        registers += 1;
                        registers - 1
                    });
                    places[i] = Place::Register(register);
                    To::Register(register)
                });
                instructions.push((instruction, to));
            }
            // A step that is several results is computed for each.
            for k in wanted {
                let again = match (instruction, last[i] > i) {
                    (Some(instruction), false) => instruction,
                    _ => Instruction::Copy(places[i]),
                };
                instructions.push((again, To::Result(k)));
            }
            let mut read: Vec<usize> = reads(step).into_iter().flatten().collect();
            read.sort_unstable();
            read.dedup();
            for a in read.into_iter().filter(|a| last[*a] == i) {
                let leaf = matches!(steps[a], Step::Input(_) | Step::Constant(_));
                if let (Place::Register(r), false) = (places[a], leaf) {
                    free.push(r);
                }
            }
        }
        Self {
            instructions,
            constants,
            registers,
        }
    }

    /// The program that clips its only operand.
    pub(super) fn clip(clip: &Clip) -> Self {
        let clip = Instruction::Clip(Place::Operand(0), clip.lower(), clip.upper());
        Self {
            instructions: vec![(clip, To::Result(0))],
            constants: Vec::new(),
            registers: 0,
        }
    }

    /// Registers for a run, the constants in theirs.
    pub(super) fn registers(&self) -> Registers {
        let mut registers = vec![vec![0.0; BLOCK]; self.registers];
        for (register, c) in registers.iter_mut().zip(&self.constants) {
            register.fill(*c);
        }
        Registers(registers)
    }

    /// Computes the results, all of one length, from operands as long or
    /// longer, and at most a block.
    #[inline(always)]
    pub(super) fn run<'a, const FUSED: bool>(
        &self,
        registers: &mut Registers,
        operand: impl Fn(usize) -> &'a [f32],
        outs: &mut [&mut [f32]],
    ) {
        let len = outs.first().map_or(0, |out| out.len());
        for (instruction, to) in &self.instructions {
            // The register that is written is none that is read.
            let mut register = match to {
                To::Register(r) => std::mem::take(&mut registers.0[*r]),
                To::Result(_) => Vec::new(),
            };
            let out = match to {
                To::Register(_) => &mut register[..len],
                To::Result(k) => &mut *outs[*k],
            };
            apply::<FUSED>(*instruction, registers, &operand, out);
            if let To::Register(r) = to {
                registers.0[*r] = register;
            }
        }
    }
}

/// Working memory of one run.
pub(super) struct Registers(Vec<Vec<f32>>);

fn reads(step: &Step) -> [Option<usize>; 3] {
    match *step {
        Step::Input(_) | Step::Constant(_) => [None; 3],
        Step::Unary(_, a) => [Some(a), None, None],
        Step::Binary(_, a, b) => [Some(a), Some(b), None],
        Step::Select(c, a, b) => [Some(c), Some(a), Some(b)],
    }
}

#[inline(always)]
fn apply<'a, const FUSED: bool>(
    instruction: Instruction,
    registers: &Registers,
    operand: &impl Fn(usize) -> &'a [f32],
    out: &mut [f32],
) {
    let at = |place: Place| match place {
        Place::Operand(i) => &operand(i)[..out.len()],
        Place::Register(r) => &registers.0[r][..out.len()],
    };
    match instruction {
        Instruction::Copy(a) => {
            let a = at(a);
            out.copy_from_slice(a);
        }
        Instruction::Clip(a, low, high) => {
            let a = at(a);
            map(a, out, |x| {
                let x = if x < low { low } else { x };
                if x > high { high } else { x }
            });
        }
        Instruction::Unary(f, a) => {
            let a = at(a);
            unary::<FUSED>(f, a, out);
        }
        Instruction::Binary(f, a, b) => {
            let (a, b) = (at(a), at(b));
            binary(f, a, b, out);
        }
        Instruction::Select(c, a, b) => {
            let (c, a, b) = (at(c), at(a), at(b));
            for (out, ((c, a), b)) in out.iter_mut().zip(c.iter().zip(a).zip(b)) {
                *out = if *c == 0.0 { *b } else { *a };
            }
        }
    }
}

#[inline(always)]
fn unary<const FUSED: bool>(f: Unary, x: &[f32], out: &mut [f32]) {
    match f {
        Unary::Neg => map(x, out, |x| -x),
        Unary::Abs => map(x, out, f32::abs),
        Unary::Sign => map(x, out, |x| truth(x > 0.0) - truth(x < 0.0)),
        Unary::Floor => map(x, out, f32::floor),
        Unary::Ceil => map(x, out, f32::ceil),
        Unary::Round => map(x, out, f32::round_ties_even),
        Unary::Sqrt => map(x, out, f32::sqrt),
        Unary::Exp => map(x, out, math::exp::<FUSED>),
        Unary::Log => map(x, out, math::ln::<FUSED>),
        Unary::Sin => map(x, out, math::sin),
        Unary::Cos => map(x, out, math::cos),
        Unary::Tanh => map(x, out, math::tanh::<FUSED>),
        Unary::Erf => map(x, out, math::erf::<FUSED>),
        Unary::Sigmoid => map(x, out, math::sigmoid::<FUSED>),
        Unary::Softplus => map(x, out, math::softplus::<FUSED>),
    }
}

#[inline(always)]
fn binary(f: Binary, a: &[f32], b: &[f32], out: &mut [f32]) {
    match f {
        Binary::Add => zip(a, b, out, |a, b| a + b),
        Binary::Sub => zip(a, b, out, |a, b| a - b),
        Binary::Mul => zip(a, b, out, |a, b| a * b),
        Binary::Div => zip(a, b, out, |a, b| a / b),
        // Both end at the second unless the first is chosen or no number.
        Binary::Min => zip(a, b, out, |a, b| if (a < b) | a.is_nan() { a } else { b }),
        Binary::Max => zip(a, b, out, |a, b| if (a > b) | a.is_nan() { a } else { b }),
        Binary::Pow => zip(a, b, out, math::pow),
        Binary::Less => zip(a, b, out, |a, b| truth(a < b)),
        Binary::LessOrEqual => zip(a, b, out, |a, b| truth(a <= b)),
        Binary::Equal => zip(a, b, out, |a, b| truth(a == b)),
    }
}

#[inline(always)]
fn truth(t: bool) -> f32 {
    if t { 1.0 } else { 0.0 }
}

#[inline(always)]
fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = f(*x);
    }
}

#[inline(always)]
fn zip(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = f(*a, *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_graph::Expr;

    fn run(formula: &Formula, operands: &[&[f32]]) -> Vec<f32> {
        let program = Program::new(std::slice::from_ref(formula));
        let mut out = vec![f32::NAN; operands[0].len()];
        program.run::<false>(
            &mut program.registers(),
            |i| operands[i],
            &mut [&mut out[..]],
        );
        out
    }

    #[test]
    fn a_program_is_its_formula() {
        let [x, y] = [0, 1].map(Expr::input);
        let mut chain = x.clone();
        for i in 0..5 {
            let step = chain.clone() * y.clone() + x.clone() * f64::from(i);
            chain = chain
                .clone()
                .less(step.clone())
                .select(step, chain * 0.5 - x.clone());
        }
        let numbers: Vec<f32> = (0..64).map(|i| (i as f32 - 31.0) * 0.03).collect();
        let others: Vec<f32> = numbers.iter().map(|v| v * 0.25 - 0.4).collect();
        for formula in [
            &chain,
            &x,
            &Expr::constant(2.5),
            &(x.clone() * x.clone().sigmoid()),
        ] {
            let formula = Formula::new(formula);
            let found = run(&formula, &[&numbers, &others]);
            for i in 0..64 {
                let exact = formula.evaluate(&[numbers[i].into(), others[i].into()]);
                let error = (f64::from(found[i]) - exact).abs();
                assert!(error <= 1e-4 * exact.abs().max(1.0), "{} {exact}", found[i]);
            }
        }
        assert!(Program::new(&[Formula::new(&chain)]).registers < 5 + 8);
    }

    #[test]
    fn results_share_what_they_need() {
        let [x, y] = [0, 1].map(Expr::input);
        let tanh = x.clone().tanh();
        let exprs = [
            tanh.clone() * x.clone(),
            tanh.clone(),
            y.clone(),
            tanh.clone() * x.clone(),
            y.clone() - tanh,
            x + y,
            Expr::constant(3.0),
        ];
        let formulas = exprs.map(|e| Formula::new(&e));
        let program = Program::new(&formulas);
        let functions = program.instructions.iter();
        let functions = functions.filter(|(i, _)| matches!(i, Instruction::Unary(..)));
        assert_eq!(functions.count(), 1);
        let operands = [0.3f32, -1.5].map(|x| [x; 16]);
        let mut found = vec![[f32::NAN; 16]; formulas.len()];
        let mut outs: Vec<&mut [f32]> = found.iter_mut().map(|out| &mut out[..]).collect();
        program.run::<false>(&mut program.registers(), |i| &operands[i], &mut outs);
        for (formula, found) in formulas.iter().zip(&found) {
            assert_eq!(run(formula, &[&operands[0], &operands[1]]), found);
        }
    }

    #[test]
    fn what_is_no_number_stays() {
        let [x, y] = [0, 1].map(Expr::input);
        let nan = f32::NAN;
        for f in [x.clone().min(y.clone()), x.max(y)] {
            let found = run(&Formula::new(&f), &[&[nan, 1.0, 2.0], &[1.0, nan, 2.0]]);
            assert!(found[0].is_nan() && found[1].is_nan() && found[2] == 2.0);
        }
        let clip = Program::clip(&Clip::relu());
        let mut out = [0.0; 3];
        clip.run::<false>(
            &mut clip.registers(),
            |_| &[f32::NAN, -1.0, f32::INFINITY],
            &mut [&mut out[..]],
        );
        assert!(out[0].is_nan() && out[1..] == [0.0, f32::INFINITY]);
    }
}
