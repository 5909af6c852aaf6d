//! A capture that Wireshark and tshark open: each chunk of the run as a TCP segment.
//!
//! Format: "PCAP Now Generic Dump File Format" (draft-ietf-opsawg-pcapng): one section header,
//! one interface with nanosecond timestamps, one enhanced packet for each segment. Handshakes,
//! acknowledgements and closes are made up from what the trace says, so that stream analysis
//! works. A node is 10.0.x.y, from its number; the accepting side is at `port`.

use crate::net::{LinkId, NodeId};
use crate::node::Ending;
use crate::trace::{Trace, What};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
/// Payload of one segment: fits an IPv4 packet.
const SEGMENT: usize = 65_000;

/// The run as a capture file. `port` is that of the accepting sides: 11211 makes Wireshark read
/// memcached. A chunk appears when it *arrives*, as at the receiver's network card.
#[must_use]
pub fn pcapng(trace: &Trace, port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    section(&mut out);
    interface(&mut out);
    let mut packets: Vec<Packet<'_>> = Vec::new();
    let mut streams = vec![Stream::default(); trace.links.len()];
    for event in &trace.events {
        let Some(link) = event.link else { continue };
        let Some(ends) = trace.links.get(link.0 as usize) else { continue };
        let end = usize::from(ends[0] != event.node);
        let at = event.at.0;
        let stream = &mut streams[link.0 as usize];
        let packet = |at, end, flags, seq, bytes| Packet { at, link, end, flags, seq, bytes };
        match &event.what {
            What::Opened if end == 0 => packets.push(packet(at, 0, ACK, 1, &[][..])),
            What::Opened => {
                packets.push(packet(at.saturating_sub(2), 0, SYN, 0, &[]));
                packets.push(packet(at.saturating_sub(1), 1, SYN | ACK, 0, &[]));
            }
            What::Sent { bytes, until, offset, .. } => {
                for (nth, part) in bytes.chunks(SEGMENT).enumerate() {
                    let seq = (*offset + 1) as u32 + (nth * SEGMENT) as u32;
                    packets.push(packet(until.0, end, PSH | ACK, seq, part));
                }
                stream.sent[end] = stream.sent[end].max(*offset + bytes.len() as u64);
                stream.last[end] = stream.last[end].max(until.0);
            }
            What::Finished => {
                let (seq, at) = (stream.sent[end] as u32 + 1, at.max(stream.last[end]));
                packets.push(packet(at, end, FIN | ACK, seq, &[]));
            }
            What::Aborted => {
                packets.push(packet(at, end, RST | ACK, stream.sent[end] as u32 + 1, &[]));
            }
            What::Ended(Ending::Reset | Ending::Refused) => {
                let seq = stream.sent[1 - end] as u32 + 1;
                packets.push(packet(at, 1 - end, RST | ACK, seq, &[]));
            }
            _ => {}
        }
    }
    packets.sort_by_key(|p| p.at);
    let mut seen = vec![[1_u32; 2]; trace.links.len()];
    for packet in &packets {
        let ends = trace.links[packet.link.0 as usize];
        let seen = &mut seen[packet.link.0 as usize];
        let ack = seen[1 - packet.end];
        let extra = u32::from(packet.flags & (FIN | SYN) != 0);
        seen[packet.end] =
            seen[packet.end].max(packet.seq.wrapping_add(packet.bytes.len() as u32 + extra));
        write(&mut out, packet, ends, ack, port);
    }
    out
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Bytes sent by each end.
    sent: [u64; 2],
    /// When the last of them arrives.
    last: [u64; 2],
}

struct Packet<'a> {
    at: u64,
    link: LinkId,
    /// Who sends: 0 = who opened the link.
    end: usize,
    flags: u8,
    seq: u32,
    bytes: &'a [u8],
}

fn section(out: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
    body.extend_from_slice(&1_u16.to_le_bytes());
    body.extend_from_slice(&0_u16.to_le_bytes());
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    block(out, 0x0a0d_0d0a, &body);
}

fn interface(out: &mut Vec<u8>) {
    let mut body = Vec::new();
    // Raw IP packets.
    body.extend_from_slice(&101_u16.to_le_bytes());
    body.extend_from_slice(&0_u16.to_le_bytes());
    body.extend_from_slice(&0_u32.to_le_bytes());
    // if_tsresol: 10^-9 s.
    body.extend_from_slice(&9_u16.to_le_bytes());
    body.extend_from_slice(&1_u16.to_le_bytes());
    body.extend_from_slice(&[9, 0, 0, 0]);
    body.extend_from_slice(&[0; 4]);
    block(out, 1, &body);
}

fn write(out: &mut Vec<u8>, packet: &Packet<'_>, ends: [NodeId; 2], ack: u32, port: u16) {
    // Each link has a port of its own at the side that opened it.
    let client = 20_000 + (packet.link.0 % 40_000) as u16;
    let ports = [client, port];
    let (from, to) = (packet.end, 1 - packet.end);
    let mut tcp = Vec::with_capacity(20 + packet.bytes.len());
    tcp.extend_from_slice(&ports[from].to_be_bytes());
    tcp.extend_from_slice(&ports[to].to_be_bytes());
    tcp.extend_from_slice(&packet.seq.to_be_bytes());
    let ack = if packet.flags & ACK != 0 { ack } else { 0 };
    tcp.extend_from_slice(&ack.to_be_bytes());
    tcp.extend_from_slice(&[5 << 4, packet.flags]);
    tcp.extend_from_slice(&u16::MAX.to_be_bytes());
    tcp.extend_from_slice(&[0; 4]);
    tcp.extend_from_slice(packet.bytes);
    let (source, target) = (address(ends[from]), address(ends[to]));
    let mut pseudo = Vec::new();
    pseudo.extend_from_slice(&source);
    pseudo.extend_from_slice(&target);
    pseudo.extend_from_slice(&[0, 6]);
    pseudo.extend_from_slice(&(tcp.len() as u16).to_be_bytes());
    let sum = checksum(&[&pseudo, &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());

    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(20 + tcp.len() as u16).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    ip.extend_from_slice(&source);
    ip.extend_from_slice(&target);
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&tcp);

    let mut body = Vec::with_capacity(20 + ip.len());
    body.extend_from_slice(&0_u32.to_le_bytes());
    body.extend_from_slice(&((packet.at >> 32) as u32).to_le_bytes());
    body.extend_from_slice(&(packet.at as u32).to_le_bytes());
    body.extend_from_slice(&(ip.len() as u32).to_le_bytes());
    body.extend_from_slice(&(ip.len() as u32).to_le_bytes());
    body.extend_from_slice(&ip);
    block(out, 6, &body);
}

const fn address(node: NodeId) -> [u8; 4] {
    [10, 0, (node.0 >> 8) as u8, node.0 as u8]
}

/// A block: type, length, body padded to 32 bits, length again.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let len = (12 + padded) as u32;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend_from_slice(&len.to_le_bytes());
}

/// The Internet checksum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
