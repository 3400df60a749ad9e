pub fn main(_a: &[std::ffi::OsString]) -> crate::failure::Result<()> {
    Ok(())
}
