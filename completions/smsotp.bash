# smsotp itself completes its command lines.
eval "$(_SMSOTP_COMPLETE=bash smsotp 2>/dev/null)"
