//! A two-way redirect between two interfaces by traffic control (tc-u32(8), tc-mirred(8)): the `u32` classifier that
//! matches everything is in every kernel that has traffic control, unlike `matchall`.

use super::link;
use super::netlink::{Message, Socket, attributes, read_u32};
use crate::error::{Context, Error, Result};
use rustix::io::Errno;

const INGRESS_PARENT: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// The priority of our filter: how we know it from others' (the letters "tp").
const PRIORITY: u32 = 0x7470;
const ETH_P_ALL: u16 = 0x0003;

// linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_EGRESS_REDIR: i32 = 1;
const TC_ACT_STOLEN: i32 = 4;

type Link<'a> = (&'a str, u32);

/// Redirects whatever arrives at either interface out of the other. Leaves nothing behind at `outside` on failure.
pub(super) fn both_ways(socket: &mut Socket, tap: Link, outside: Link) -> Result<()> {
    one_way(socket, tap, outside)?;
    one_way(socket, outside, tap)
}

fn one_way(socket: &mut Socket, from: Link, to: Link) -> Result<()> {
    let (from_name, from_index) = from;
    let qdisc = Message::new(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL)
        .fixed(&info(from_index, INGRESS_HANDLE, INGRESS_PARENT, 0))
        .text(libc::TCA_KIND, "ingress");
    match socket.request(qdisc) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            return Err(Error::step(format!(
                "cannot redirect the frames of {from_name}: it has an ingress filter already; remove it with: tc qdisc del dev {from_name} ingress"
            )));
        }
        Err(error) => {
            return Err(Error::system(
                format!("cannot add an ingress queue to {from_name}"),
                error,
            ));
        }
    }
    let filter = Message::new(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL)
        .fixed(&info(from_index, 0, INGRESS_HANDLE, filter_info()))
        .text(libc::TCA_KIND, "u32")
        .nest(libc::TCA_OPTIONS, |options| {
            options
                .attribute(TCA_U32_SEL, &match_all())
                .nest(TCA_U32_ACT, |actions| {
                    actions.nest(1, |action| {
                        action
                            .text(TCA_ACT_KIND, "mirred")
                            .nest(TCA_ACT_OPTIONS, |mirred| {
                                mirred.attribute(TCA_MIRRED_PARMS, &redirect_to(to.1))
                            })
                    })
                })
        });
    socket.request(filter).map_err(|error| {
        // The queue is ours alone, made above; what the kernel says about its removal adds nothing to the failure.
        let _ = delete_queue(socket, from_index);
        Error::system(
            format!("cannot redirect the frames of {from_name} to {}", to.0),
            error,
        )
    })
}

/// Removes our redirect from an interface, if it is there.
pub(super) fn remove(interface: &str) -> Result<()> {
    let Ok(index) = link::index(interface) else {
        return Ok(());
    };
    let mut socket = link::open()?;
    let list = Message::new(libc::RTM_GETTFILTER, 0).fixed(&info(index, 0, INGRESS_HANDLE, 0));
    let priorities = match socket.dump(&list, |body| Some(read_u32(body, 16)? >> 16)) {
        // No ingress queue, or the interface has just gone.
        Err(Errno::INVAL | Errno::NODEV | Errno::NOENT) => return Ok(()),
        other => other.or_system(|| format!("cannot list the filters of {interface}"))?,
    };
    // An ingress queue without filters is the one that a killed warden had just made.
    if priorities.iter().any(|priority| *priority != PRIORITY) || !has_queue(&mut socket, index)? {
        return Ok(());
    }
    match delete_queue(&mut socket, index) {
        Err(Errno::INVAL | Errno::NODEV | Errno::NOENT) => Ok(()),
        other => other.or_system(|| format!("cannot remove the redirect of {interface}")),
    }
}

/// Whether the interface has an `ingress` queue; `clsact`, which shares its place, is somebody else's.
fn has_queue(socket: &mut Socket, index: u32) -> Result<bool> {
    let list = Message::new(libc::RTM_GETQDISC, 0).fixed(&info(index, 0, 0, 0));
    let found = socket
        .dump(&list, |body| {
            let ours = read_u32(body, 4)? == index
                && attributes(body.get(20..))
                    .any(|(kind, value)| kind == libc::TCA_KIND && value == b"ingress\0");
            ours.then_some(())
        })
        .or_system(|| "cannot list the queues of an interface")?;
    Ok(!found.is_empty())
}

fn delete_queue(socket: &mut Socket, index: u32) -> std::result::Result<(), Errno> {
    socket.request(Message::new(libc::RTM_DELQDISC, 0).fixed(&info(index, INGRESS_HANDLE, INGRESS_PARENT, 0)))
}

/// `struct tcmsg`: family and padding, interface, handle, parent, info.
fn info(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for part in [index, handle, parent, info] {
        bytes.extend_from_slice(&part.to_ne_bytes());
    }
    bytes
}

/// Priority above, protocol (all, in network order) below.
fn filter_info() -> u32 {
    PRIORITY << 16 | u32::from(ETH_P_ALL.to_be())
}

/// `struct tc_u32_sel` with one `struct tc_u32_key` whose mask is empty.
fn match_all() -> Vec<u8> {
    let mut bytes = vec![TC_U32_TERMINAL, 0, 1, 0];
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&[0; 16]);
    bytes
}

/// `struct tc_mirred`: index, capabilities, action, two counts, kind, interface.
fn redirect_to(index: u32) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&TCA_EGRESS_REDIR.to_ne_bytes());
    bytes.extend_from_slice(&index.to_ne_bytes());
    bytes
}
