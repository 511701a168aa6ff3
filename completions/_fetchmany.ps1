
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'fetchmany' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'fetchmany'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'fetchmany' {
            [CompletionResult]::new('--fifo', '--fifo', [CompletionResultType]::ParameterName, 'Serve URLs written to the named pipe PATH until stopped')
            [CompletionResult]::new('-d', '-d', [CompletionResultType]::ParameterName, 'Directory for the files; made when missing')
            [CompletionResult]::new('--output-dir', '--output-dir', [CompletionResultType]::ParameterName, 'Directory for the files; made when missing')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Name of each file below the output directory; - for standard output')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Name of each file below the output directory; - for standard output')
            [CompletionResult]::new('--if-exists', '--if-exists', [CompletionResultType]::ParameterName, 'What to do about a file that is already there')
            [CompletionResult]::new('--max-filesize', '--max-filesize', [CompletionResultType]::ParameterName, 'Fail bodies of more than SIZE bytes (suffixes k, M, G, T: times 1024); 0 for no limit')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Transfers at once, or auto [default: 50]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Transfers at once, or auto [default: 50]')
            [CompletionResult]::new('--per-host', '--per-host', [CompletionResultType]::ParameterName, 'Transfers of one host at once [default: 8, with -j the same as that]')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'Starts per time, such as 30/s, 100/m or 5/h, of all hosts together')
            [CompletionResult]::new('--rate-per-host', '--rate-per-host', [CompletionResultType]::ParameterName, 'Starts per time of each host')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'Bytes a second, for all transfers together (suffixes k, M, G: times 1024)')
            [CompletionResult]::new('--limit-rate-per-host', '--limit-rate-per-host', [CompletionResultType]::ParameterName, 'Bytes a second, for the transfers of each host together')
            [CompletionResult]::new('--retry', '--retry', [CompletionResultType]::ParameterName, 'Attempts after a failure that may pass')
            [CompletionResult]::new('--retry-delay', '--retry-delay', [CompletionResultType]::ParameterName, 'Fixed delay between attempts; without it, or with 0, one second, doubled each time, with jitter')
            [CompletionResult]::new('--retry-max-time', '--retry-max-time', [CompletionResultType]::ParameterName, 'No attempt starts later than this after a URL''s first; 0 for no limit')
            [CompletionResult]::new('--retry-after-max', '--retry-after-max', [CompletionResultType]::ParameterName, 'Longest pause that a server may ask for; for more, its URLs fail in this run')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'Limit for name lookup, connection and TLS handshake; 0 for curl''s own, 300')
            [CompletionResult]::new('--stall-timeout', '--stall-timeout', [CompletionResultType]::ParameterName, 'Give up on a transfer after so long without an answer or a byte; 0 for never')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'Limit for one attempt; 0 for none')
            [CompletionResult]::new('--max-time', '--max-time', [CompletionResultType]::ParameterName, 'Limit for one attempt; 0 for none')
            [CompletionResult]::new('--max-failures', '--max-failures', [CompletionResultType]::ParameterName, 'Stop when more than N, or N% of the URLs (from the hundredth on), have failed')
            [CompletionResult]::new('--journal', '--journal', [CompletionResultType]::ParameterName, 'Remember in FILE what is settled; the same command again goes on from there')
            [CompletionResult]::new('--checksum-file', '--checksum-file', [CompletionResultType]::ParameterName, 'Verify files against FILE, in the format of sha256sum, sha1sum or md5sum')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'Add a request header, "Name: value"; "Name:" removes one')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'Add a request header, "Name: value"; "Name:" removes one')
            [CompletionResult]::new('-A', '-A ', [CompletionResultType]::ParameterName, 'User-Agent to send')
            [CompletionResult]::new('--user-agent', '--user-agent', [CompletionResultType]::ParameterName, 'User-Agent to send')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'Basic authentication for every server; what a URL itself names comes first')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Basic authentication for every server; what a URL itself names comes first')
            [CompletionResult]::new('-x', '-x', [CompletionResultType]::ParameterName, 'Use this proxy, in curl''s syntax, such as socks5h://host:1080 or host:3128')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'Use this proxy, in curl''s syntax, such as socks5h://host:1080 or host:3128')
            [CompletionResult]::new('--cacert', '--cacert', [CompletionResultType]::ParameterName, 'Trust the certificate authorities in this PEM file instead of the system''s')
            [CompletionResult]::new('--resolve', '--resolve', [CompletionResultType]::ParameterName, 'Use this address for a host and port: HOST:PORT:ADDRESS')
            [CompletionResult]::new('--max-redirs', '--max-redirs', [CompletionResultType]::ParameterName, 'Redirects to follow; -1 for no limit, which is 1000 here')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Print FORMAT for each URL instead, with curl''s %{variables}')
            [CompletionResult]::new('--write-out', '--write-out', [CompletionResultType]::ParameterName, 'Print FORMAT for each URL instead, with curl''s %{variables}')
            [CompletionResult]::new('--results', '--results', [CompletionResultType]::ParameterName, 'Write the JSON results to FILE as well')
            [CompletionResult]::new('--failed', '--failed', [CompletionResultType]::ParameterName, 'Write the input lines that failed to FILE, to be used as input again')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'How progress is shown on standard error')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colours')
            [CompletionResult]::new('--generate', '--generate', [CompletionResultType]::ParameterName, 'Print the manual page or a completion script')
            [CompletionResult]::new('--tree', '--tree', [CompletionResultType]::ParameterName, 'Files in directories as on the server, the same as -o ''{host}/{path}''')
            [CompletionResult]::new('--discard', '--discard', [CompletionResultType]::ParameterName, 'Fetch everything, keep nothing')
            [CompletionResult]::new('-J', '-J ', [CompletionResultType]::ParameterName, 'Name files as the server does, by Content-Disposition, where it gives a name')
            [CompletionResult]::new('--remote-header-name', '--remote-header-name', [CompletionResultType]::ParameterName, 'Name files as the server does, by Content-Disposition, where it gives a name')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be fetched, and to where; fetch and write nothing')
            [CompletionResult]::new('--no-remote-time', '--no-remote-time', [CompletionResultType]::ParameterName, 'Do not set files'' times to the server''s Last-Modified')
            [CompletionResult]::new('--sync', '--sync', [CompletionResultType]::ParameterName, 'Flush each file and its directory to the disk before its result is told')
            [CompletionResult]::new('--no-resume', '--no-resume', [CompletionResultType]::ParameterName, 'Fetch from the first byte what an earlier attempt or run has left unfinished')
            [CompletionResult]::new('--fail-early', '--fail-early', [CompletionResultType]::ParameterName, 'Stop at the first failure, the same as --max-failures 0')
            [CompletionResult]::new('--retry-failed', '--retry-failed', [CompletionResultType]::ParameterName, 'Try again also what the journal has as failed for good')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Do not verify certificates')
            [CompletionResult]::new('--insecure', '--insecure', [CompletionResultType]::ParameterName, 'Do not verify certificates')
            [CompletionResult]::new('--http1.1', '--http1.1', [CompletionResultType]::ParameterName, 'HTTP/1.1 only')
            [CompletionResult]::new('--http2', '--http2', [CompletionResultType]::ParameterName, 'HTTP/2, also without TLS by upgrade; without this option HTTP/2 is used where TLS negotiates it')
            [CompletionResult]::new('--compressed', '--compressed', [CompletionResultType]::ParameterName, 'Ask for compressed bodies and store them decoded')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'IPv4 only')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'IPv4 only')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'IPv6 only')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'IPv6 only')
            [CompletionResult]::new('-I', '-I ', [CompletionResultType]::ParameterName, 'Send HEAD requests: check links, fetch nothing')
            [CompletionResult]::new('--head', '--head', [CompletionResultType]::ParameterName, 'Send HEAD requests: check links, fetch nothing')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object per URL instead of lines for people')
            [CompletionResult]::new('--ordered', '--ordered', [CompletionResultType]::ParameterName, 'Print results in the order of the list, not of their ends')
            [CompletionResult]::new('--sha256', '--sha256', [CompletionResultType]::ParameterName, 'Compute the SHA-256 of every body for its result')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'No results and no progress, failures on standard error; twice: nothing at all')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'No results and no progress, failures on standard error; twice: nothing at all')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Tell on standard error of retries, of connections, and of each host that is treated with care')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Tell on standard error of retries, of connections, and of each host that is treated with care')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print the usual options; with --help all of them, and more about each')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print the usual options; with --help all of them, and more about each')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version and those of the libraries')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version and those of the libraries')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
