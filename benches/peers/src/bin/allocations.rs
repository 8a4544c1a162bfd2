//! How often a decision allocates, counted by the allocator: choosing the rule, and working out what it
//! permits. It fails when choosing allocates at all, once a thread has decided something.
//!
//! `cargo run --release --bin allocations`

#[allow(dead_code)]
#[path = "../../../workloads.rs"]
mod workloads;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use workloads::{NAMES, Workload, loaded};

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and bytes of each of so many calls, together.
fn counted(calls: usize, mut call: impl FnMut(usize)) -> (f64, f64) {
    let before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    (0..calls).for_each(&mut call);
    let after = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let each = |before: u64, after: u64| (after - before) as f64 / calls as f64;
    (each(before.0, after.0), each(before.1, after.1))
}

fn main() {
    println!("| workload | rules | choosing | with what is permitted or why not |");
    println!("|---|---:|---:|---:|");
    for name in NAMES {
        for size in [10, 1_000, 10_000] {
            let workload = Workload::new(name, size);
            let set = loaded(&workload);
            let requests = &workload.requests;
            // The first decision of a thread makes room for the next.
            black_box(set.select(&requests[0]));
            let (choosing, _) = counted(requests.len(), |number| {
                black_box(set.select(&requests[number]));
            });
            let (whole, bytes) = counted(requests.len(), |number| {
                let _ = black_box(set.decide(&requests[number]));
            });
            println!("| {name} | {size} | {choosing} | {whole:.1}, {bytes:.0} bytes |");
            assert!(choosing == 0.0, "choosing a rule allocates");
        }
    }
}
