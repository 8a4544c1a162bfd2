//! What the program does besides serving: the real binary, run as a user runs it.

mod diff;
mod effective;
mod found;
mod generate;
mod help;
mod index;
mod init;
mod keys;
mod online;
mod reference;
mod secrets;
mod token;
