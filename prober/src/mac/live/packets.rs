//! ARP through a BPF device (bpf(4)): filtered in the kernel, stamped by it.

#![allow(unsafe_code, reason = "ioctls of BPF devices")]

use core::mem::size_of;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use pnwatch_core::time::Timestamp;

use crate::link::Leg;
use crate::mac::parse::kernel;

/// Devices that are tried: `/dev/bpf0` … ; macOS makes more as they are used.
const DEVICES: u32 = 256;
/// Room for one read; the kernel insists on reads of exactly this size.
const BUFFER: u32 = 32 << 10;

/// `_IOC(direction, 'B', number, size)` (sys/ioccom.h).
const fn ioc(direction: libc::c_ulong, number: libc::c_ulong, size: usize) -> libc::c_ulong {
    direction | ((size as libc::c_ulong & 0x1fff) << 16) | ((b'B' as libc::c_ulong) << 8) | number
}
const IN: libc::c_ulong = 0x8000_0000;
const INOUT: libc::c_ulong = 0xc000_0000;
const BIOCSBLEN: libc::c_ulong = ioc(INOUT, 102, 4);
const BIOCSETF: libc::c_ulong = ioc(IN, 103, size_of::<Program>());
const BIOCSETIF: libc::c_ulong = ioc(IN, 108, size_of::<Request>());
const BIOCIMMEDIATE: libc::c_ulong = ioc(IN, 112, 4);
const BIOCSHDRCMPLT: libc::c_ulong = ioc(IN, 117, 4);
const BIOCSSEESENT: libc::c_ulong = ioc(IN, 119, 4);
const _: () = assert!(BIOCSETF == libc::BIOCSETF);
const _: () = assert!(BIOCSETIF == 0x8020_426c);

/// `struct bpf_insn` (net/bpf.h).
#[repr(C)]
struct Step {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    length: u32,
    steps: *const Step,
}

/// `struct ifreq` (net/if.h): a name and 16 bytes of no matter.
#[repr(C)]
struct Request {
    name: [u8; 16],
    rest: [u8; 16],
}

/// `ldh [12]; jeq #0x806; ret #len; ret #0`: everything but ARP is refused in the kernel.
static ARP_ONLY: [Step; 4] = [
    step(0x28, 0, 0, 12),
    step(0x15, 0, 1, 0x806),
    step(0x06, 0, 0, 1514),
    step(0x06, 0, 0, 0),
];

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> Step {
    Step { code, jt, jf, k }
}

/// An open BPF device.
#[derive(Debug)]
pub struct Packets {
    device: File,
    buffer: Box<[u8]>,
}

impl Packets {
    /// On the PN device; needs root.
    pub fn open(leg: &Leg, _index: u32) -> io::Result<Self> {
        let device = free_device()?;
        let mut length = BUFFER;
        control(&device, BIOCSBLEN, &mut length)?;
        let mut program = Program {
            length: ARP_ONLY.len() as u32,
            steps: ARP_ONLY.as_ptr(),
        };
        control(&device, BIOCSETF, &mut program)?;
        control(&device, BIOCSETIF, &mut request(&leg.facts.device)?)?;
        // Each frame at once; not our own; and the sender's MAC as we write it.
        for (what, mut value) in [(BIOCIMMEDIATE, 1u32), (BIOCSSEESENT, 0), (BIOCSHDRCMPLT, 1)] {
            control(&device, what, &mut value)?;
        }
        Ok(Self {
            device,
            // The kernel may have granted less than was asked for.
            buffer: vec![0; length as usize].into(),
        })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.device).write_all(frame)
    }

    /// Gives the frames of one read, with the kernel's stamps of their arrival, to `each`.
    pub fn receive(&mut self, each: &mut dyn FnMut(&[u8], Option<Timestamp>)) -> io::Result<()> {
        let length = (&self.device).read(&mut self.buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for record in kernel::records(self.buffer.get(..length).unwrap_or_default()) {
            each(record.frame, record.stamp);
        }
        Ok(())
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Opens the first BPF device that nobody else uses.
fn free_device() -> io::Result<File> {
    let mut refused = io::Error::from_raw_os_error(libc::EBUSY);
    for number in 0..DEVICES {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/dev/bpf{number}"));
        match opened {
            Ok(device) => return Ok(device),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

fn request(device: &str) -> io::Result<Request> {
    let mut request = Request {
        name: [0; 16],
        rest: [0; 16],
    };
    let bytes = device.as_bytes();
    let room = request.name.get_mut(..bytes.len());
    match room.filter(|_| bytes.len() < 16) {
        Some(room) => room.copy_from_slice(bytes),
        None => return Err(io::Error::from_raw_os_error(libc::ENXIO)),
    }
    Ok(request)
}

fn control<T>(device: &File, what: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: `argument` has the layout and size that `what` names, and outlives the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), what, core::ptr::from_mut(argument)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
