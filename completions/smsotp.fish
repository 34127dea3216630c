# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_smsotp_global_optspecs
    string join \n db= config= env-file= o/output= json color= q/quiet v/verbose no-input reveal h/help V/version
end

function __fish_smsotp_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_smsotp_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_smsotp_using_subcommand
    set -l cmd (__fish_smsotp_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c smsotp -n "__fish_smsotp_needs_command" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_needs_command" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_needs_command" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_needs_command" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_needs_command" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_needs_command" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_needs_command" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_needs_command" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_needs_command" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_needs_command" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_needs_command" -s V -l version -d 'Print version'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "send" -d 'Send a code to a phone'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "verify" -d 'Verify a code'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "list" -d 'List codes: who, what for, in which state'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "show" -d 'Show everything that happened to one code'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "revoke" -d 'Revoke codes'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "purge-expired" -d 'Delete what is finished and old'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "test-twilio" -d 'Check that the Twilio account, number and network work'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "dispatch" -d 'Send messages that are due, and settle those whose outcome is unknown'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "explain" -d 'Explain an error code of Twilio\'s, offline'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "limits" -d 'Show and reset the limits'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "test-number" -d 'Manage test numbers, which get a fixed code and no message'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "keys" -d 'List, rotate and prune the secret keys'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "config" -d 'Show and check the configuration'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "db" -d 'Look after the database'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "audit" -d 'Read and verify the audit log'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "token" -d 'Manage access tokens for the REST API of `serve`'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "serve" -d 'Serve the REST API beside an application'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "sandbox" -d 'Stand in for Twilio on this machine'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "demo" -d 'Show the whole story: send, read, verify, list, purge'
complete -c smsotp -n "__fish_smsotp_needs_command" -f -a "help" -d 'Explain a command or a topic'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l purpose -d 'What the code is for' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l user -d 'Your identifier of the user; the code is bound to it' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l ip -d 'The address of the client; its limits then apply' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l region -d 'The country of a number in national form, two letters' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l override -d 'Override this limit for one message; may be repeated; recorded in the audit log' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l reason -d 'Why the limit is overridden' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l idempotency-key -d 'Repeat safely: the same key gets the same answer and sends once' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l timeout -d 'Give up after this long' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l wait -d 'Follow the message to its last status, at most this long [default: 60s]' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l app-hash -d 'The 11 characters that Android uses to pass the message to your app' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l origin -d 'The domain whose web page may fill the code in by itself' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l allow-segments -d 'Allow the message to take this many SMS segments' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l provider -d 'Send through this provider' -r -f -a "twilio\t''
console\t''"
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l new-code -d 'Send a new code even if one is live'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l purpose -d 'What the code is for' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l user -d 'The user that the code was sent for' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l ip -d 'The address of the client; its limits then apply' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l code-file -d 'Read the code from this file' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l known -d 'The user is signed in already: use the guess budgets of known users'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l phone -d 'Only this number' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l purpose -d 'Only this purpose' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l user -d 'Only this user' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l state -d 'Only these states, separated by commas' -r -f -a "active\t''
verified\t''
superseded\t''
locked\t''
revoked\t''
failed\t''
expired\t''"
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l since -d 'Only rows from this moment on: a date, RFC 3339, or a span back from now' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l until -d 'Only rows before this moment' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l limit -d 'At most this many rows' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l after -d 'Start after this row: the `next_after` of the page before' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l purpose -d 'Only this purpose' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l user -d 'Only this user' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l purpose -d 'Only this purpose' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l user -d 'Only this user' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l reason -d 'Why; kept in the audit log' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l older-than -d 'Keep what finished within this span [default: the setting, 24h]' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l batch -d 'Rows per batch [default: as many as fit into a few milliseconds]' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -s n -l dry-run -d 'Count and delete nothing'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l exclusive -d 'Faster, in one go: others wait'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l scrub -d 'Also overwrite what was deleted, so that no byte of it stays in the files'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand purge-expired" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l to -d 'Also send a real message to this number and follow it to its last status' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-twilio" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l limit -d 'Stop after this many messages' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand dispatch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -f -a "show" -d 'Show the limits in force, and how much of them someone has used'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and not __fish_seen_subcommand_from show reset" -f -a "reset" -d 'Reset the limits and guess budgets of someone'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l user -d 'Show what this user has used' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l ip -d 'Show what this address has used' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l purpose -d 'The purpose whose budgets are meant' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l risk -d 'What the limits mean: odds of a guessed code, worst cost of a day'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l user -d 'The user' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l ip -d 'The address' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l reason -d 'Why; kept in the audit log' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l everything -d 'The limit on messages in all'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l opt-out -d 'Also remove the opt-out of the number'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand limits; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -f -a "add" -d 'Declare a test number; its code comes from a prompt or standard input'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -f -a "list" -d 'List the test numbers'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and not __fish_seen_subcommand_from add list remove" -f -a "remove" -d 'Make a test number an ordinary one again'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l until -d 'Until when: a date, RFC 3339, or a span from now; at most 90 days' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand test-number; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -f -a "list" -d 'List the accepted keys and what still uses them'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -f -a "rotate" -d 'Add a new key, or bring the newest to the front'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and not __fish_seen_subcommand_from list rotate prune" -f -a "prune" -d 'Remove keys that no live code uses'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -s y -l yes -d 'Do not ask'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand keys; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -f -a "show" -d 'Show every setting, its value and where it comes from'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and not __fish_seen_subcommand_from show check" -f -a "check" -d 'Check the configuration and warn about what is risky'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "status" -d 'Show where the database is, its size, schema and rows'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "migrate" -d 'Create or update the tables of a PostgreSQL database'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "check" -d 'Check that the database is sound'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "backup" -d 'Copy the database to a file while it is in use'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "export" -d 'Write the database as lines of text, for SQLite or PostgreSQL to read'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and not __fish_seen_subcommand_from status migrate check backup export import" -f -a "import" -d 'Read an exported database into an empty one'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l move -d 'Keep live codes live in the export, and seal this database'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -s y -l yes -d 'Do not ask before sealing'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand db; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -f -a "list" -d 'List the audit log, newest first'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and not __fish_seen_subcommand_from list verify" -f -a "verify" -d 'Verify the chain from its first row to its last'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l phone -d 'Only rows about this number' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l user -d 'Only rows about this user, where no phone comes first' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l action -d 'Only this action, for example revoke' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l since -d 'Only rows from this moment on: a date, RFC 3339, or a span back from now' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l until -d 'Only rows before this moment' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l limit -d 'At most this many rows' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l after -d 'Start after this row: the `next_after` of the page before' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "create" -d 'Create a token and show it, once'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "list" -d 'List the tokens, without the tokens themselves'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "revoke" -d 'Revoke a token for good'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l user -d 'The one user that it speaks for' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l scope -d 'What its bearer may do: send, verify, test, read, admin' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l name -d 'What to call it' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'Until when: a date, RFC 3339, or a span from now [default: no end]' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l rate -d 'How many requests it may make in a second, of each server [default: 10 with --user, 200 with --service]' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l service -d 'It speaks for any user: for an application\'s server'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l listen -d 'Listen here; port 0 takes a free one' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l trusted-proxy -d 'Trust this proxy or network to name its clients\' addresses; may be repeated. Clients inside it can name others too' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l tls-cert -d 'Speak TLS with this certificate chain (PEM)' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l tls-key -d 'The certificate\'s private key (PEM)' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l public-url -d 'The public address of the API, which Twilio\'s callbacks are signed for' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l host -d 'Answer to this host name too on this machine\'s own addresses; may be repeated' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l purge-every -d 'How often to purge what is finished; 0s: never' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l max-connections -d 'At most this many connections at once; the next ones wait' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l max-per-address -d 'At most this many connections of one address; not for this machine and trusted proxies' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l behind-proxy -d 'Allow listening beyond this machine without TLS: a proxy in front speaks it'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l allow-test-numbers -d 'Accept the fixed codes of declared test numbers'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l log-json -d 'Write logs as JSON'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l listen -d 'Listen here; port 0 takes a free one' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l write-env -d 'Write the variables that a client needs to this file, once ready' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and not __fish_seen_subcommand_from inbox" -f -a "inbox" -d 'Show the messages that a running sandbox received'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l to -d 'Only messages to this number' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l wait -d 'Wait this long for a message' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l code -d 'Print the digits of the code alone'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand sandbox; and __fish_seen_subcommand_from inbox" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l db -d 'Keep the database in this file' -r
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l config -d 'Read settings from this file instead of the user\'s smsotp.toml' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l env-file -d 'Read variables from this file instead of ./.env' -r -F
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -s o -l output -d 'Write results in this form [default: table on a terminal, tsv in a pipe]' -r -f -a "table\t'Aligned columns and prose (the default on a terminal)'
tsv\t'Tab-separated values without headings (the default in a pipe)'
json\t'One JSON document'
jsonl\t'One JSON object per line'"
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Always'
never\t'Never'"
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l json -d 'Write results and errors as JSON: short for -o json'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -s q -l quiet -d 'Print results and errors only'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -s v -l verbose -d 'Log each step to standard error; -vv adds details'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l no-input -d 'Never prompt'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -l reveal -d 'Show phone numbers in full (leaves a row in the audit log)'
complete -c smsotp -n "__fish_smsotp_using_subcommand help" -s h -l help -d 'Print help (see more with \'--help\')'
