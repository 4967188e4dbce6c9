//! Type information of the running kernel (BTF), read just far enough to find a function's id.

/// The kernel's own type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The BTF id of the kernel's function `name`; `None` if it has no such function or no type information.
pub fn kernel_function(name: &str) -> Option<i32> {
    find_function(&std::fs::read(VMLINUX).ok()?, name.as_bytes())
}

/// `BTF_KIND_FUNC`.
const FUNCTION: u32 = 12;

/// Walk the type section of a native-endian BTF blob; types are numbered from 1.
fn find_function(btf: &[u8], name: &[u8]) -> Option<i32> {
    let magic = btf.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))?;
    if magic != 0xeb9f {
        return None;
    }
    let header_len = word(btf, 4)?;
    let section = |at: usize| -> Option<&[u8]> {
        let start = header_len.checked_add(word(btf, at)?)? as usize;
        btf.get(start..start.checked_add(word(btf, at + 4)? as usize)?)
    };
    let (types, strings) = (section(8)?, section(16)?);

    let mut at = 0;
    for id in 1.. {
        let info = word(types, at + 4)?;
        if kind(info) == FUNCTION && string(strings, word(types, at)?) == Some(name) {
            return Some(id);
        }
        at += 12 + trailing_bytes(info)?;
    }
    None
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes that follow the twelve common to every type (Documentation/bpf/btf.rst §2).
fn trailing_bytes(info: u32) -> Option<usize> {
    let members = (info & 0xffff) as usize;
    Some(match kind(info) {
        1 | 14 | 17 => 4,                // int, var, decl_tag
        2 | 7..=12 | 16 | 18 => 0,       // pointer, forward, typedef, qualifiers, function, float, type_tag
        3 => 12,                         // array
        4 | 5 | 15 | 19 => members * 12, // struct, union, datasec, enum64
        6 | 13 => members * 8,           // enum, function prototype
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The zero-terminated string at `at`.
fn string(strings: &[u8], at: u32) -> Option<&[u8]> {
    strings.get(at as usize..)?.split(|&byte| byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with a struct of two members, an int and the function `f`.
    fn blob() -> Vec<u8> {
        let words = |list: &[u32]| list.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        let mut types = words(&[0, 4 << 24 | 2, 8, 0, 2, 0, 0, 2, 32]);
        types.extend(words(&[0, 1 << 24, 4, 32]));
        types.extend(words(&[1, FUNCTION << 24, 1]));
        let strings = b"\0f\0";
        let mut blob = 0xeb9f_u16.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        let (types_len, strings_len) = (u32::try_from(types.len()).unwrap(), 3);
        blob.extend(words(&[24, 0, types_len, types_len, strings_len]));
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    #[test]
    fn a_function_is_found_past_types_with_members() {
        assert_eq!(find_function(&blob(), b"f"), Some(3));
        assert_eq!(find_function(&blob(), b"g"), None);
    }

    #[test]
    fn a_truncated_or_mangled_blob_finds_nothing_and_never_panics() {
        let whole = blob();
        for len in 0..whole.len() {
            let _ = find_function(&whole[..len], b"f");
        }
        for at in 0..whole.len() {
            let mut mangled = whole.clone();
            mangled[at] ^= 0xff;
            let _ = find_function(&mangled, b"f");
        }
    }
}
