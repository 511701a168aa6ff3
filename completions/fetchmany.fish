complete -c fetchmany -l input-format -d 'What INPUTs are written in' -r -f -a "lines\t'A URL on each line, and perhaps a TAB and an output name'
json\t'A JSON object on each line'"
complete -c fetchmany -l base-url -d 'What relative URLs in INPUTs are meant from; for a directory it ends with /' -r
complete -c fetchmany -l fifo -d 'Serve URLs written to the named pipe PATH until stopped' -r -F
complete -c fetchmany -s d -l output-dir -d 'Directory for the files; made when missing' -r -f -a "(__fish_complete_directories)"
complete -c fetchmany -s o -l output -d 'Name of each file below the output directory; - for standard output' -r
complete -c fetchmany -l if-exists -d 'What to do about a file that is already there' -r -f -a "skip\t'Leave it, fetch nothing'
overwrite\t'Replace it by the new file once that is whole'
rename\t'Keep both: the new one becomes name.1.ext'
fail\t'Leave it, count a failure'
update\t'Replace it if the server has a newer one'"
complete -c fetchmany -l max-filesize -d 'Fail bodies of more than SIZE bytes (suffixes k, M, G, T: times 1024); 0 for no limit' -r
complete -c fetchmany -s j -l jobs -d 'Transfers at once, or auto [default: 50]' -r
complete -c fetchmany -l per-host -d 'Transfers of one host at once [default: 8, with -j the same as that]' -r
complete -c fetchmany -l rate -d 'Starts per time, such as 30/s, 100/m, 5/h or 20/d, of all hosts together; a number alone is for an hour' -r
complete -c fetchmany -l rate-per-host -d 'Starts per time of each host' -r
complete -c fetchmany -l limit-rate -d 'Bytes a second, for all transfers together (suffixes k, M, G: times 1024); 0 for no limit' -r
complete -c fetchmany -l limit-rate-per-host -d 'Bytes a second, for the transfers of each host together' -r
complete -c fetchmany -l retry -d 'Attempts after a failure that may pass' -r
complete -c fetchmany -l retry-delay -d 'Fixed delay between attempts; without it, or with 0, one second on average, doubled each time, with jitter' -r
complete -c fetchmany -l retry-max-time -d 'No attempt starts later than this after a URL\'s first; 0 for no limit' -r
complete -c fetchmany -l retry-after-max -d 'Longest pause that a server may ask for; for more, its URLs fail in this run' -r
complete -c fetchmany -l connect-timeout -d 'Limit for name lookup, connection and TLS handshake; 0 for curl\'s own, 300' -r
complete -c fetchmany -l stall-timeout -d 'Give up on a transfer after so long without an answer or a byte; 0 for never' -r
complete -c fetchmany -s m -l max-time -d 'Limit for one attempt; 0 for none' -r
complete -c fetchmany -s Y -l speed-limit -d 'Give up on a transfer that is slower than this for --speed-time, in bytes a second; 0 for never [default: 1]' -r
complete -c fetchmany -s y -l speed-time -d 'How long a transfer may be slower than --speed-limit; 0 for ever [default: 30]' -r
complete -c fetchmany -l max-failures -d 'Stop when more than N, or N% of the URLs (from the hundredth on), have failed' -r
complete -c fetchmany -l journal -d 'Remember in FILE what is settled; the same command again goes on from there' -r -F
complete -c fetchmany -l checksum-file -d 'Verify files against FILE, in the format of sha256sum, sha1sum or md5sum' -r -F
complete -c fetchmany -s H -l header -d 'Add a request header, "Name: value"; "Name:" removes one; @FILE adds those in FILE, one a line' -r
complete -c fetchmany -s A -l user-agent -d 'User-Agent to send' -r
complete -c fetchmany -s e -l referer -d 'Referer to send; with ";auto" at the end, redirects are sent the URL before them' -r
complete -c fetchmany -s X -l request -d 'Method to send instead of GET, to wherever redirects lead too' -r
complete -c fetchmany -s u -l user -d 'Authentication for every server; what a URL itself names comes first' -r
complete -c fetchmany -l aws-sigv4 -d 'Sign requests with AWS\'s version 4; the user is the access key, the password the secret' -r
complete -c fetchmany -l oauth2-bearer -d 'Send this OAuth 2.0 token; as with --user, @FILE or FETCHMANY_OAUTH2_BEARER keep it from the command line' -r
complete -c fetchmany -l netrc-file -d 'The same from FILE' -r -F
complete -c fetchmany -s b -l cookie -d 'Send these cookies, "name=value; name=value", or those of a Netscape cookie file' -r
complete -c fetchmany -s c -l cookie-jar -d 'Keep cookies, and write all of them to FILE at the end, readable by its owner alone' -r -F
complete -c fetchmany -s x -l proxy -d 'Use this proxy, in curl\'s syntax, such as socks5h://host:1080 or host:3128' -r
complete -c fetchmany -l noproxy -d 'Hosts that are asked without a proxy, with commas between them; * for all' -r
complete -c fetchmany -l cacert -d 'Trust the certificate authorities in this PEM file instead of the system\'s' -r -F
complete -c fetchmany -s E -l cert -d 'Client certificate, a PEM file; a colon in its name is written \\:' -r
complete -c fetchmany -l key -d 'Private key of the client certificate, a PEM file, where it is not in the same one' -r -F
complete -c fetchmany -l pass -d 'Password of the private key; @FILE or FETCHMANY_PASS keep it from the command line' -r
complete -c fetchmany -l pinnedpubkey -d 'Accept only servers with one of these public keys' -r
complete -c fetchmany -l curves -d 'Offer these groups for the key exchange of TLS, by OpenSSL\'s names' -r
complete -c fetchmany -l resolve -d 'Use this address for a host and port: HOST:PORT:ADDRESS' -r
complete -c fetchmany -l connect-to -d 'Connect to HOST2:PORT2 for requests to HOST1:PORT1; an empty part stands for any, or for the same' -r
complete -c fetchmany -l unix-socket -d 'Connect through this Unix domain socket' -r -F
complete -c fetchmany -l interface -d 'Send from this network interface, address or host name' -r
complete -c fetchmany -l happy-eyeballs-timeout-ms -d 'How long IPv6 is tried before IPv4 is tried as well, in milliseconds [default: 200]' -r
complete -c fetchmany -l doh-url -d 'Resolve names by DNS over HTTPS at this URL' -r
complete -c fetchmany -l max-redirs -d 'Redirects to follow; -1 for no limit, which is 1000 here' -r
complete -c fetchmany -l proto -d 'Schemes that may be used, such as =https or -http' -r
complete -c fetchmany -l proto-redir -d 'Schemes to which redirects may lead' -r
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
complete -c fetchmany -l config -d 'Read options from FILE instead of the usual config file' -r -F
complete -c fetchmany -s 0 -l null -d 'Lines of INPUTs end in NUL instead of a newline'
complete -c fetchmany -l tree -d 'Files in directories as on the server, the same as -o \'{host}/{path}\''
complete -c fetchmany -l discard -d 'Fetch everything, keep nothing'
complete -c fetchmany -s J -l remote-header-name -d 'Name files as the server does, by Content-Disposition, where it gives a name'
complete -c fetchmany -l dry-run -d 'Say what would be fetched, and to where; fetch and write nothing'
complete -c fetchmany -l no-remote-time -d 'Do not set files\' times to the server\'s Last-Modified'
complete -c fetchmany -l sync -d 'Flush each file and its directory to the disk before its result is told'
complete -c fetchmany -l no-resume -d 'Fetch from the first byte what an earlier attempt or run has left unfinished'
complete -c fetchmany -l fail-early -d 'Stop at the first failure, the same as --max-failures 0'
complete -c fetchmany -l retry-failed -d 'Try again also what the journal has as failed for good'
complete -c fetchmany -s I -l head -d 'Send HEAD requests: check links, fetch nothing'
complete -c fetchmany -l basic -d 'Basic authentication, the default'
complete -c fetchmany -l digest -d 'Digest authentication'
complete -c fetchmany -l anyauth -d 'The safest authentication that the server offers'
complete -c fetchmany -s n -l netrc -d 'Take users and passwords from ~/.netrc'
complete -c fetchmany -s k -l insecure -d 'Do not verify certificates'
complete -c fetchmany -s 4 -l ipv4 -d 'Names have IPv4 addresses only; an address in a URL is used as it is'
complete -c fetchmany -s 6 -l ipv6 -d 'Names have IPv6 addresses only; an address in a URL is used as it is'
complete -c fetchmany -l http1.1 -d 'HTTP/1.1 only'
complete -c fetchmany -l http2 -d 'HTTP/2, also without TLS by upgrade; without this option HTTP/2 is used where TLS negotiates it'
complete -c fetchmany -l http2-prior-knowledge -d 'HTTP/2, also without TLS, and at once: for servers that are known to speak it'
complete -c fetchmany -l compressed -d 'Ask for compressed bodies and store them decoded'
complete -c fetchmany -l no-location -d 'Follow no redirects: each is a failure'
complete -c fetchmany -l json -d 'Print one JSON object per URL instead of lines for people'
complete -c fetchmany -l ordered -d 'Print results in the order of the list, not of their ends'
complete -c fetchmany -l sha256 -d 'Compute the SHA-256 of every body for its result'
complete -c fetchmany -s q -l quiet -d 'No results and no progress, failures on standard error; twice: nothing at all'
complete -c fetchmany -s v -l verbose -d 'Tell on standard error of retries, of connections, and of each host that is treated with care'
complete -c fetchmany -l no-config -d 'Read no config file'
complete -c fetchmany -s h -l help -d 'Print the usual options; with --help all of them, and more about each'
complete -c fetchmany -s V -l version -d 'Print the version and those of the libraries'
