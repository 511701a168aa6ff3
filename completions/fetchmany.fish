complete -c fetchmany -l fifo -d 'Serve URLs written to the named pipe PATH until stopped' -r -F
complete -c fetchmany -s d -l output-dir -d 'Directory for the files; made when missing' -r -F
complete -c fetchmany -s o -l output -d 'Name of each file below the output directory; - for standard output' -r
complete -c fetchmany -l if-exists -d 'What to do about a file that is already there' -r -f -a "skip\t'Leave it, fetch nothing'
overwrite\t'Replace it by the new file once that is whole'
rename\t'Keep both: the new one becomes name.1.ext'
fail\t'Leave it, count a failure'
update\t'Replace it if the server has a newer one'"
complete -c fetchmany -l max-filesize -d 'Fail bodies of more than SIZE bytes (suffixes k, M, G, T: times 1024); 0 for no limit' -r
complete -c fetchmany -s j -l jobs -d 'Transfers at once, or auto [default: 50]' -r
complete -c fetchmany -l per-host -d 'Transfers of one host at once [default: 8, with -j the same as that]' -r
complete -c fetchmany -l rate -d 'Starts per time, such as 30/s, 100/m or 5/h, of all hosts together' -r
complete -c fetchmany -l rate-per-host -d 'Starts per time of each host' -r
complete -c fetchmany -l limit-rate -d 'Bytes a second, for all transfers together (suffixes k, M, G: times 1024)' -r
complete -c fetchmany -l limit-rate-per-host -d 'Bytes a second, for the transfers of each host together' -r
complete -c fetchmany -l retry -d 'Attempts after a failure that may pass' -r
complete -c fetchmany -l retry-delay -d 'Fixed delay between attempts; without it, or with 0, one second, doubled each time, with jitter' -r
complete -c fetchmany -l retry-max-time -d 'No attempt starts later than this after a URL\'s first; 0 for no limit' -r
complete -c fetchmany -l retry-after-max -d 'Longest pause that a server may ask for; for more, its URLs fail in this run' -r
complete -c fetchmany -l connect-timeout -d 'Limit for name lookup, connection and TLS handshake; 0 for curl\'s own, 300' -r
complete -c fetchmany -l stall-timeout -d 'Give up on a transfer after so long without an answer or a byte; 0 for never' -r
complete -c fetchmany -s m -l max-time -d 'Limit for one attempt; 0 for none' -r
complete -c fetchmany -l max-failures -d 'Stop when more than N, or N% of the URLs (from the hundredth on), have failed' -r
complete -c fetchmany -l journal -d 'Remember in FILE what is settled; the same command again goes on from there' -r -F
complete -c fetchmany -l checksum-file -d 'Verify files against FILE, in the format of sha256sum, sha1sum or md5sum' -r -F
complete -c fetchmany -s H -l header -d 'Add a request header, "Name: value"; "Name:" removes one' -r
complete -c fetchmany -s A -l user-agent -d 'User-Agent to send' -r
complete -c fetchmany -s u -l user -d 'Basic authentication for every server; what a URL itself names comes first' -r
complete -c fetchmany -s x -l proxy -d 'Use this proxy, in curl\'s syntax, such as socks5h://host:1080 or host:3128' -r
complete -c fetchmany -l cacert -d 'Trust the certificate authorities in this PEM file instead of the system\'s' -r -F
complete -c fetchmany -l resolve -d 'Use this address for a host and port: HOST:PORT:ADDRESS' -r
complete -c fetchmany -l max-redirs -d 'Redirects to follow; -1 for no limit, which is 1000 here' -r
complete -c fetchmany -s w -l write-out -d 'Print FORMAT for each URL instead, with curl\'s %{variables}' -r
complete -c fetchmany -l results -d 'Write the JSON results to FILE as well' -r -F
complete -c fetchmany -l failed -d 'Write the input lines that failed to FILE, to be used as input again' -r -F
complete -c fetchmany -l progress -d 'How progress is shown on standard error' -r -f -a "auto\t'Bars on a terminal, else plain'
bars\t'Bars'
plain\t'A line every ten seconds'
off\t'None'"
complete -c fetchmany -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c fetchmany -l generate -d 'Print the manual page or a completion script' -r -f -a "man\t'The manual page, in roff'
complete-bash\t'Completions for bash'
complete-zsh\t'Completions for zsh'
complete-fish\t'Completions for fish'
complete-powershell\t'Completions for PowerShell'"
complete -c fetchmany -l tree -d 'Files in directories as on the server, the same as -o \'{host}/{path}\''
complete -c fetchmany -l discard -d 'Fetch everything, keep nothing'
complete -c fetchmany -s J -l remote-header-name -d 'Name files as the server does, by Content-Disposition, where it gives a name'
complete -c fetchmany -l dry-run -d 'Say what would be fetched, and to where; fetch and write nothing'
complete -c fetchmany -l no-remote-time -d 'Do not set files\' times to the server\'s Last-Modified'
complete -c fetchmany -l sync -d 'Flush each file and its directory to the disk before its result is told'
complete -c fetchmany -l no-resume -d 'Fetch from the first byte what an earlier attempt or run has left unfinished'
complete -c fetchmany -l fail-early -d 'Stop at the first failure, the same as --max-failures 0'
complete -c fetchmany -l retry-failed -d 'Try again also what the journal has as failed for good'
complete -c fetchmany -s k -l insecure -d 'Do not verify certificates'
complete -c fetchmany -l http1.1 -d 'HTTP/1.1 only'
complete -c fetchmany -l http2 -d 'HTTP/2, also without TLS by upgrade; without this option HTTP/2 is used where TLS negotiates it'
complete -c fetchmany -l compressed -d 'Ask for compressed bodies and store them decoded'
complete -c fetchmany -s 4 -l ipv4 -d 'IPv4 only'
complete -c fetchmany -s 6 -l ipv6 -d 'IPv6 only'
complete -c fetchmany -s I -l head -d 'Send HEAD requests: check links, fetch nothing'
complete -c fetchmany -l json -d 'Print one JSON object per URL instead of lines for people'
complete -c fetchmany -l ordered -d 'Print results in the order of the list, not of their ends'
complete -c fetchmany -l sha256 -d 'Compute the SHA-256 of every body for its result'
complete -c fetchmany -s q -l quiet -d 'No results and no progress, failures on standard error; twice: nothing at all'
complete -c fetchmany -s v -l verbose -d 'Tell on standard error of retries, of connections, and of each host that is treated with care'
complete -c fetchmany -s h -l help -d 'Print the usual options; with --help all of them, and more about each'
complete -c fetchmany -s V -l version -d 'Print the version and those of the libraries'
