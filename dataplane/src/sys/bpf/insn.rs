//! BPF instructions: an assembler just big enough for the programs here.

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Insn {
    op: u8,
    /// Destination in the low four bits, source in the high.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register. `R0` holds results, `R1`–`R5` arguments, `R6`–`R9` survive calls, `R10` is the frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How many bytes a load or store moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Size {
    /// Four bytes.
    Word = 0x00,
    /// Two bytes.
    Half = 0x08,
    /// One byte.
    Byte = 0x10,
    /// Eight bytes.
    Double = 0x18,
}

/// What [`Program::math`] does to a register, 64 bits unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Math {
    /// Plus.
    Add = 0x00,
    /// Minus.
    Subtract = 0x10,
    /// Bits of either.
    Or = 0x40,
    /// Bits of both.
    And = 0x50,
    /// Bits moved up.
    Left = 0x60,
    /// Bits moved down, zeros behind them.
    Right = 0x70,
    /// Divided by; by zero gives zero.
    Divide = 0x30,
    /// The rest of a division; by zero leaves it as it is.
    Rest = 0x90,
    /// Bits of one of the two.
    Xor = 0xa0,
}

/// A place in a [`Program`] to jump forward to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(usize);

/// When a jump is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum When {
    /// Equal.
    Equal = 0x10,
    /// Greater, unsigned.
    Greater = 0x20,
    /// Greater or equal, unsigned.
    GreaterOrEqual = 0x30,
    /// A bit of both is set.
    BothHave = 0x40,
    /// Not equal.
    NotEqual = 0x50,
}

/// Instructions under construction.
#[derive(Default, Debug)]
pub struct Program {
    code: Vec<Insn>,
    /// Instruction a label stands for, once placed.
    labels: Vec<Option<usize>>,
    /// Jumps and the labels they wait for.
    jumps: Vec<(usize, Label)>,
}

impl Program {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// A label not placed yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label stands for the next instruction.
    pub fn place(&mut self, label: Label) -> &mut Self {
        self.labels[label.0] = Some(self.code.len());
        self
    }

    /// `to = from`, 64 bits.
    pub fn copy(&mut self, to: Reg, from: Reg) -> &mut Self {
        self.push(0xbf, to, from, 0, 0)
    }

    /// `to = value`, sign-extended to 64 bits.
    pub fn set(&mut self, to: Reg, value: i32) -> &mut Self {
        self.push(0xb7, to, Reg::R0, 0, value)
    }

    /// `to += value`, 64 bits.
    pub fn add(&mut self, to: Reg, value: i32) -> &mut Self {
        self.math_value(Math::Add, to, value)
    }

    /// `to = to (math) from`.
    pub fn math(&mut self, math: Math, to: Reg, from: Reg) -> &mut Self {
        self.push(0x0f | math as u8, to, from, 0, 0)
    }

    /// `to = to (math) value`, which is sign-extended to 64 bits.
    pub fn math_value(&mut self, math: Math, to: Reg, value: i32) -> &mut Self {
        self.push(0x07 | math as u8, to, Reg::R0, 0, value)
    }

    /// The low `bits` (16 or 32) of `register` from host order to network order or back, the rest zero.
    pub fn network_order(&mut self, register: Reg, bits: i32) -> &mut Self {
        self.push(0xdc, register, Reg::R0, 0, bits)
    }

    /// `to = *(from + offset)`, zero-extended.
    pub fn load(&mut self, size: Size, to: Reg, from: Reg, offset: i16) -> &mut Self {
        self.push(0x61 | size as u8, to, from, offset, 0)
    }

    /// `*(to + offset) = from`.
    pub fn store(&mut self, size: Size, to: Reg, offset: i16, from: Reg) -> &mut Self {
        self.push(0x63 | size as u8, to, from, offset, 0)
    }

    /// `*(to + offset) = value`.
    pub fn store_value(&mut self, size: Size, to: Reg, offset: i16, value: i32) -> &mut Self {
        self.push(0x62 | size as u8, to, Reg::R0, offset, value)
    }

    /// `to` = the map behind descriptor `fd` (two instructions, `BPF_PSEUDO_MAP_FD`).
    pub fn load_map(&mut self, to: Reg, fd: i32) -> &mut Self {
        self.push(0x18, to, Reg::R1, 0, fd).push(0, Reg::R0, Reg::R0, 0, 0)
    }

    /// `to` = where the only row of the array behind descriptor `fd` is (two instructions, `BPF_PSEUDO_MAP_VALUE`).
    pub fn load_row(&mut self, to: Reg, fd: i32) -> &mut Self {
        self.push(0x18, to, Reg::R2, 0, fd).push(0, Reg::R0, Reg::R0, 0, 0)
    }

    /// `to = value`, 64 bits (two instructions).
    pub fn set_whole(&mut self, to: Reg, value: u64) -> &mut Self {
        let half = |bits: u64| i32::try_from((bits << 32).cast_signed() >> 32).unwrap_or_default();
        let [low, high] = [half(value), half(value >> 32)];
        self.push(0x18, to, Reg::R0, 0, low).push(0, Reg::R0, Reg::R0, 0, high)
    }

    /// Call helper number `id` of `enum bpf_func_id`; `R1`–`R5` are spent, `R0` is the result.
    pub fn call(&mut self, id: i32) -> &mut Self {
        self.push(0x85, Reg::R0, Reg::R0, 0, id)
    }

    /// Call the kernel function of this BTF id (`BPF_PSEUDO_KFUNC_CALL`).
    pub fn call_kernel(&mut self, btf_id: i32) -> &mut Self {
        self.push(0x85, Reg::R0, Reg::R2, 0, btf_id)
    }

    /// Go to `label`, further on, when `left` compares so to `value`.
    pub fn jump_value(&mut self, when: When, left: Reg, value: i32, label: Label) -> &mut Self {
        self.jumps.push((self.code.len(), label));
        self.push(0x05 | when as u8, left, Reg::R0, 0, value)
    }

    /// Go to `label`, further on, when `left` compares so to `right`.
    pub fn jump(&mut self, when: When, left: Reg, right: Reg, label: Label) -> &mut Self {
        self.jumps.push((self.code.len(), label));
        self.push(0x0d | when as u8, left, right, 0, 0)
    }

    /// Go to `label`, further on.
    pub fn go(&mut self, label: Label) -> &mut Self {
        self.jumps.push((self.code.len(), label));
        self.push(0x05, Reg::R0, Reg::R0, 0, 0)
    }

    /// Return `R0`.
    pub fn exit(&mut self) -> &mut Self {
        self.push(0x95, Reg::R0, Reg::R0, 0, 0)
    }

    /// The finished code. A label never placed leaves its jumps going nowhere, which the verifier refuses.
    pub fn finish(mut self) -> Vec<Insn> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].unwrap_or(at);
            self.code[at].offset = i16::try_from(target - at).unwrap_or_default().wrapping_sub(1);
        }
        self.code
    }

    fn push(&mut self, op: u8, to: Reg, from: Reg, offset: i16, immediate: i32) -> &mut Self {
        self.code.push(Insn { op, registers: to as u8 | (from as u8) << 4, offset, immediate });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_encode_as_the_kernel_documents() {
        let mut program = Program::new();
        let end = program.label();
        program
            .load(Size::Word, Reg::R2, Reg::R1, 16)
            .jump_value(When::NotEqual, Reg::R0, 3, end)
            .store(Size::Half, Reg::R10, -4, Reg::R7)
            .place(end)
            .exit();
        let insn = |op, registers, offset, immediate| Insn { op, registers, offset, immediate };
        assert_eq!(
            program.finish(),
            [
                insn(0x61, 0x12, 16, 0), // r2 = *(u32 *)(r1 + 16)
                insn(0x55, 0x00, 1, 3),  // if r0 != 3 goto +1
                insn(0x6b, 0x7a, -4, 0), // *(u16 *)(r10 - 4) = r7
                insn(0x95, 0x00, 0, 0),
            ]
        );
        let mut program = Program::new();
        let end = program.label();
        program
            .set_whole(Reg::R2, 0xffff_fffe_8000_0001)
            .math(Math::Subtract, Reg::R0, Reg::R1)
            .math_value(Math::Left, Reg::R3, 6)
            .jump(When::GreaterOrEqual, Reg::R1, Reg::R2, end)
            .go(end)
            .place(end)
            .load_row(Reg::R8, 7);
        assert_eq!(
            program.finish(),
            [
                insn(0x18, 0x02, 0, i32::MIN + 1), // r2 = 0xfffffffe80000001 ll
                insn(0x00, 0x00, 0, -2),
                insn(0x1f, 0x10, 0, 0), // r0 -= r1
                insn(0x67, 0x03, 0, 6), // r3 <<= 6
                insn(0x3d, 0x21, 1, 0), // if r1 >= r2 goto +1
                insn(0x05, 0x00, 0, 0), // goto +0
                insn(0x18, 0x28, 0, 7), // r8 = map[fd 7][0] + 0
                insn(0x00, 0x00, 0, 0),
            ]
        );
    }

    #[test]
    fn an_instruction_is_eight_bytes() {
        assert_eq!(size_of::<Insn>(), 8);
    }
}
