//! Partial checksums, found by looking: a sender with checksum offload leaves only the pseudo-header
//! sum in the field, and AF_XDP does not say so.

use super::layers::{Layer, MAX_LAYERS, layers};
use arrayvec::ArrayVec;

/// Completes every TCP and UDP checksum that was left partial, innermost first, and returns how many.
/// A frame without one costs a walk over its headers; a checksum that is right is never made wrong.
///
/// Left alone, because what their checksum covers is not to be seen: fragments and source-routed packets.
#[inline]
pub fn complete_partial(frame: &mut [u8]) -> u32 {
    if layers(frame).any(|layer| layer.looks_partial(frame)) { complete_found(frame) } else { 0 }
}

#[cold]
fn complete_found(frame: &mut [u8]) -> u32 {
    let found: ArrayVec<Layer, MAX_LAYERS> = layers(frame).collect();
    let mut completed = 0;
    let mut remaining = &found[..];
    while let Some((innermost, enclosing)) = remaining.split_last() {
        remaining = enclosing;
        // A checksum that is right vouches for what it encloses. One that is full but wrong may be about
        // to become right: a kernel that encapsulates computes it for the completed inner one.
        let is_vouched_for = || enclosing.iter().any(|outer| outer.is_intact(frame));
        if innermost.looks_partial(frame) && !is_vouched_for() {
            innermost.complete(frame);
            // A full checksum may equal the pseudo-header sum; completing it gives the same again.
            completed += u32::from(!innermost.looks_partial(frame));
        }
    }
    completed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;
    use crate::wire::samples::{self, Sample};
    use proptest::prelude::*;

    /// Sets the last word of the payload so that the innermost full checksum equals the pseudo-header sum.
    fn make_ambiguous(sample: &mut Sample) {
        let (offset, partial) = sample.parts[0].checksum.unwrap();
        sample.make_partial(0);
        let last = sample.frame.len() - 2;
        sample.frame[last..].copy_from_slice(&[0, 0]);
        let sum = Sum::of(&sample.frame[sample.parts[0].transport..]) + u16::from_be_bytes(partial);
        sample.frame[last..].copy_from_slice(&sum.checksum().to_be_bytes());
        assert_eq!(sample.frame[offset..offset + 2], partial);
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn full_checksums_are_left_alone(recipe in samples::any_recipe(100), padding in 0..60usize) {
            let mut frame = recipe.build().frame;
            frame.resize(frame.len() + padding, 0xa5);
            let before = frame.clone();
            prop_assert_eq!(complete_partial(&mut frame), 0);
            prop_assert_eq!(frame, before);
        }

        /// The full frame made partial in one or all of its layers comes back as it was: outer checksums that
        /// stay full are those of the kernel, right once the inner one is.
        #[test]
        fn partial_ones_are_completed_to_the_full_frame(
            recipe in samples::any_recipe(100),
            padding in 0..60usize,
            one in prop::option::of(0..MAX_LAYERS),
        ) {
            let mut sample = recipe.build();
            let full = sample.frame.clone();
            let partial = (0..sample.parts.len()).filter(|part| one.is_none_or(|one| one == *part));
            let expected = partial.filter(|&part| sample.make_partial(part)).count();
            // Two partial ones may make up for each other: right is right.
            prop_assume!(one.is_some() || !layers(&sample.frame).any(|layer| layer.is_intact(&sample.frame)));
            let mut frame = sample.frame;
            frame.resize(full.len() + padding, 0xa5);
            prop_assert_eq!(complete_partial(&mut frame), u32::try_from(expected).unwrap());
            prop_assert_eq!(&frame[..full.len()], &full);
            prop_assert!(frame[full.len()..].iter().all(|&byte| byte == 0xa5));
        }

        /// A full checksum that equals the pseudo-header sum looks partial; it must survive.
        #[test]
        fn ambiguous_checksum_is_left_alone(recipe in samples::any_recipe(100)) {
            let mut recipe = recipe;
            recipe.tunnels.clear();
            recipe.payload.resize(recipe.payload.len().next_multiple_of(2), 0);
            let mut sample = recipe.build();
            make_ambiguous(&mut sample);
            let layer = layers(&sample.frame).next().unwrap();
            prop_assert!(layer.looks_partial(&sample.frame) && layer.is_intact(&sample.frame));
            let before = sample.frame.clone();
            prop_assert_eq!(complete_partial(&mut sample.frame), 0);
            prop_assert_eq!(sample.frame, before);
        }

        /// Someone encapsulated a partial frame and summed what he saw: his receiver wants just that.
        #[test]
        fn nothing_inside_a_right_checksum_is_changed(recipe in samples::any_recipe(100), port: u16) {
            let mut recipe = recipe;
            recipe.tunnels.clear();
            let mut inner = recipe.build();
            inner.make_partial(0);
            recipe.payload = [&[0x08, 0, 0, 0, 0, 0, 7, 0][..], &inner.frame].concat();
            recipe.transport = samples::Transport::Udp(4789);
            let mut frame = recipe.build().frame;
            prop_assert!(layers(&frame).nth(1).unwrap().looks_partial(&frame));
            let before = frame.clone();
            prop_assert_eq!(complete_partial(&mut frame), 0);
            prop_assert_eq!(frame, before);
        }

        #[test]
        fn mangled_frames_change_only_where_a_checksum_is(
            recipe in samples::any_recipe(100),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut: prop::sample::Index,
        ) {
            let mut sample = recipe.build();
            sample.make_partial(0);
            let mut frame = samples::mangle(sample.frame, &flips, cut);
            let before = frame.clone();
            let completed = complete_partial(&mut frame);
            let changed = frame.iter().zip(&before).filter(|(now, then)| now != then).count();
            prop_assert_eq!(changed > 0, completed > 0);
            prop_assert!(changed <= 2 * usize::try_from(completed).unwrap());
        }
    }

    /// As captured behind a veth: UDP in VXLAN from Linux 6.18, offloads at their defaults.
    #[test]
    fn kernels_vxlan_becomes_right_outside_by_completing_inside() {
        const CAPTURED: &str = "3a0ff7111e875ad752866d7008004500004f3d900000401128fe0a0700010a070002d2e712b5003b4871\
            08000000000007001e060cbae958c29526fabcdd08004500001d0ab5400040111c090a0800010a080002e09817700009142dab";
        let digits = CAPTURED.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let mut frame: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        assert!(layers(&frame).all(|layer| !layer.is_intact(&frame)));
        let inner_checksum = frame.len() - 3;
        let before = frame.clone();
        assert_eq!(complete_partial(&mut frame), 1);
        assert_eq!(layers(&frame).filter(|layer| layer.is_intact(&frame)).count(), 2);
        assert_eq!(frame[..inner_checksum], before[..inner_checksum]);
    }

    #[test]
    fn what_cannot_be_seen_is_left_alone() {
        let ip = samples::Ip { v6: false, host: 1, identification: 1, extended: true };
        let mut sample = samples::Recipe {
            tags: 0,
            tunnels: Vec::new(),
            ip,
            transport: samples::Transport::Udp(5000),
            payload: vec![1, 2, 3],
        }
        .build();
        assert!(sample.make_partial(0));
        const FLAGS: usize = 14 + 6;
        const OPTION: usize = 14 + 20;
        const CHECKSUM: usize = 14 + 24 + 6;
        for (what, offset, bytes, expected) in [
            ("nothing", 0, &[2][..], 1),
            ("more fragments", FLAGS, &[0x20, 0], 0),
            ("fragment offset", FLAGS, &[0, 1], 0),
            ("strict source route", OPTION, &[137, 3, 4], 0),
            ("no checksum", CHECKSUM, &[0, 0], 0),
        ] {
            let mut frame = sample.frame.clone();
            frame[offset..offset + bytes.len()].copy_from_slice(bytes);
            let before = frame.clone();
            assert_eq!(complete_partial(&mut frame), expected, "{what}");
            assert_eq!(frame == before, expected == 0, "{what}");
        }
    }
}
