//! Bytes: reading headers, sums, super-frames that are cut, fragments that are put together.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use etherparse::PacketBuilder;
use rigswitch_dataplane::wire::checksum::Sum;
use rigswitch_dataplane::wire::ethernet::{Ethernet, HEADER_LEN};
use rigswitch_dataplane::wire::fragment::Fragmenter;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::layers::layers;
use rigswitch_dataplane::wire::reassembly::{self, Fragment};
use rigswitch_dataplane::wire::segment::{Kind, Segmenter};

use crate::support::tunnel::packet;

/// Bytes of an IPv4 header without options.
const IPV4_LEN: usize = 20;

/// A TCP segment with so much in it.
fn tcp(length: usize) -> Vec<u8> {
    let headers = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .tcp(40_000, 80, 7, 1024);
    let mut frame = Vec::new();
    headers.write(&mut frame, &vec![7; length]).unwrap();
    frame
}

pub(crate) fn wire(criterion: &mut Criterion) {
    parse(criterion);
    checksum(criterion);
    segment(criterion);
    reassemble(criterion);
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/parse");
    let frame = tcp(6);
    group.bench_function("IPv4", |bencher| {
        bencher.iter(|| {
            let ethernet = Ethernet::view(black_box(&frame)).unwrap();
            let packet = Ipv4::view(ethernet.payload()).unwrap();
            (packet.is_intact(), packet.destination())
        });
    });
    group.bench_function("layers", |bencher| bencher.iter(|| layers(black_box(&frame)).last()));
    group.finish();
}

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/checksum");
    for length in [64, 1500, 9000] {
        let bytes = vec![7; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_with_input(BenchmarkId::from_parameter(length), &bytes, |bencher, bytes| {
            bencher.iter(|| Sum::of(black_box(bytes)));
        });
    }
    group.finish();
}

/// A super-frame of 60,000 bytes, as a card cuts it.
fn segment(criterion: &mut Criterion) {
    const PAYLOAD: usize = 60_000;
    let (frame, mut out) = (tcp(PAYLOAD), vec![0; 1514]);
    let mut group = criterion.benchmark_group("wire/segment");
    group.throughput(Throughput::Bytes(PAYLOAD as u64));
    group.bench_function("TCP", |bencher| {
        bencher.iter(|| {
            let transport = HEADER_LEN + IPV4_LEN;
            let segments = Segmenter::new(black_box(&frame), Kind::TcpV4, 1460, transport).unwrap();
            (0..segments.count()).filter_map(|n| segments.write(n, &mut out)).sum::<usize>()
        });
    });
    group.finish();
}

/// A packet in three fragments.
fn reassemble(criterion: &mut Criterion) {
    let whole = packet([192, 0, 2, 1], [192, 0, 2, 2], 17, &[7; 4000]);
    let cut = Fragmenter::new(&whole, 1500).unwrap();
    let fragments = (0..cut.count()).map(|n| {
        let mut out = vec![0; cut.longest()];
        let length = cut.write(n, &mut out).unwrap();
        out.truncate(length);
        out
    });
    let fragments: Vec<_> = fragments.collect();
    let mut out = vec![0; whole.len()];
    let mut put_together = || {
        for bytes in black_box(&fragments) {
            let fragment = Fragment::view(bytes).unwrap().unwrap();
            if fragment.offset == 0 {
                fragment.write_header(&mut out).unwrap();
            }
            let at = IPV4_LEN + fragment.offset;
            out[at..at + fragment.payload.len()].copy_from_slice(fragment.payload);
        }
        reassembly::finish(&mut out, false).unwrap();
    };
    let mut group = criterion.benchmark_group("wire/reassembly");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("IPv4", |bencher| bencher.iter(&mut put_together));
    group.finish();
    assert!(out == whole, "it is put together as it was");
}
