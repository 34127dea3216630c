# smsotp itself completes its command lines.
_SMSOTP_COMPLETE=fish smsotp 2>/dev/null | source
