//! Who somebody is to us: ids, addresses, names, and the devices by which they are known again.

pub mod address;
pub mod device;
pub mod disposable;
pub mod name;
pub mod reserved;
pub mod user_id;
pub mod username;
mod visible;
