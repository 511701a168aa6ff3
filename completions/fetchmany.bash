_fetchmany() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    if [[ "${cur}" == "=" ]]; then
        cur=""
    elif [[ "${prev}" == "=" && ${COMP_CWORD} -ge 2 ]]; then
        prev="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="fetchmany"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        fetchmany)
            opts="-0 -d -o -J -j -m -Y -y -H -A -e -X -I -u -n -b -c -x -k -E -4 -6 -w -q -v -h -V --input-format --base-url --null --fifo --output-dir --output --tree --discard --if-exists --remote-header-name --dry-run --no-remote-time --sync --no-resume --max-filesize --jobs --per-host --rate --rate-per-host --limit-rate --limit-rate-per-host --retry --retry-delay --retry-max-time --retry-after-max --connect-timeout --stall-timeout --max-time --speed-limit --speed-time --max-failures --fail-early --journal --retry-failed --checksum-file --header --user-agent --referer --request --head --user --basic --digest --anyauth --aws-sigv4 --oauth2-bearer --netrc --netrc-file --cookie --cookie-jar --proxy --noproxy --insecure --cacert --cert --key --pass --pinnedpubkey --curves --resolve --connect-to --unix-socket --interface --ipv4 --ipv6 --happy-eyeballs-timeout-ms --doh-url --http1.1 --http2 --http2-prior-knowledge --compressed --max-redirs --no-location --proto --proto-redir --json --write-out --ordered --results --failed --sha256 --quiet --verbose --progress --color --config --no-config --help --version"
            if [[ ${cur} == -* ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --input-format)
                    COMPREPLY=($(compgen -W "lines json" -- "${cur}"))
                    return 0
                    ;;
                --base-url)
                    COMPREPLY=()
                    return 0
                    ;;
                --fifo)
                    COMPREPLY=()
                    return 0
                    ;;
                --output-dir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                -d)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --output)
                    COMPREPLY=()
                    return 0
                    ;;
                -o)
                    COMPREPLY=()
                    return 0
                    ;;
                --if-exists)
                    COMPREPLY=($(compgen -W "skip overwrite rename fail update" -- "${cur}"))
                    return 0
                    ;;
                --max-filesize)
                    COMPREPLY=()
                    return 0
                    ;;
                --jobs)
                    COMPREPLY=()
                    return 0
                    ;;
                -j)
                    COMPREPLY=()
                    return 0
                    ;;
                --per-host)
                    COMPREPLY=()
                    return 0
                    ;;
                --rate)
                    COMPREPLY=()
                    return 0
                    ;;
                --rate-per-host)
                    COMPREPLY=()
                    return 0
                    ;;
                --limit-rate)
                    COMPREPLY=()
                    return 0
                    ;;
                --limit-rate-per-host)
                    COMPREPLY=()
                    return 0
                    ;;
                --retry)
                    COMPREPLY=()
                    return 0
                    ;;
                --retry-delay)
                    COMPREPLY=()
                    return 0
                    ;;
                --retry-max-time)
                    COMPREPLY=()
                    return 0
                    ;;
                --retry-after-max)
                    COMPREPLY=()
                    return 0
                    ;;
                --connect-timeout)
                    COMPREPLY=()
                    return 0
                    ;;
                --stall-timeout)
                    COMPREPLY=()
                    return 0
                    ;;
                --max-time)
                    COMPREPLY=()
                    return 0
                    ;;
                -m)
                    COMPREPLY=()
                    return 0
                    ;;
                --speed-limit)
                    COMPREPLY=()
                    return 0
                    ;;
                -Y)
                    COMPREPLY=()
                    return 0
                    ;;
                --speed-time)
                    COMPREPLY=()
                    return 0
                    ;;
                -y)
                    COMPREPLY=()
                    return 0
                    ;;
                --max-failures)
                    COMPREPLY=()
                    return 0
                    ;;
                --journal)
                    COMPREPLY=()
                    return 0
                    ;;
                --checksum-file)
                    COMPREPLY=()
                    return 0
                    ;;
                --header)
                    COMPREPLY=()
                    return 0
                    ;;
                -H)
                    COMPREPLY=()
                    return 0
                    ;;
                --user-agent)
                    COMPREPLY=()
                    return 0
                    ;;
                -A)
                    COMPREPLY=()
                    return 0
                    ;;
                --referer)
                    COMPREPLY=()
                    return 0
                    ;;
                -e)
                    COMPREPLY=()
                    return 0
                    ;;
                --request)
                    COMPREPLY=()
                    return 0
                    ;;
                -X)
                    COMPREPLY=()
                    return 0
                    ;;
                --user)
                    COMPREPLY=()
                    return 0
                    ;;
                -u)
                    COMPREPLY=()
                    return 0
                    ;;
                --aws-sigv4)
                    COMPREPLY=()
                    return 0
                    ;;
                --oauth2-bearer)
                    COMPREPLY=()
                    return 0
                    ;;
                --netrc-file)
                    COMPREPLY=()
                    return 0
                    ;;
                --cookie)
                    COMPREPLY=()
                    return 0
                    ;;
                -b)
                    COMPREPLY=()
                    return 0
                    ;;
                --cookie-jar)
                    COMPREPLY=()
                    return 0
                    ;;
                -c)
                    COMPREPLY=()
                    return 0
                    ;;
                --proxy)
                    COMPREPLY=()
                    return 0
                    ;;
                -x)
                    COMPREPLY=()
                    return 0
                    ;;
                --noproxy)
                    COMPREPLY=()
                    return 0
                    ;;
                --cacert)
                    COMPREPLY=()
                    return 0
                    ;;
                --cert)
                    COMPREPLY=()
                    return 0
                    ;;
                -E)
                    COMPREPLY=()
                    return 0
                    ;;
                --key)
                    COMPREPLY=()
                    return 0
                    ;;
                --pass)
                    COMPREPLY=()
                    return 0
                    ;;
                --pinnedpubkey)
                    COMPREPLY=()
                    return 0
                    ;;
                --curves)
                    COMPREPLY=()
                    return 0
                    ;;
                --resolve)
                    COMPREPLY=()
                    return 0
                    ;;
                --connect-to)
                    COMPREPLY=()
                    return 0
                    ;;
                --unix-socket)
                    COMPREPLY=()
                    return 0
                    ;;
                --interface)
                    COMPREPLY=()
                    return 0
                    ;;
                --happy-eyeballs-timeout-ms)
                    COMPREPLY=()
                    return 0
                    ;;
                --doh-url)
                    COMPREPLY=()
                    return 0
                    ;;
                --max-redirs)
                    COMPREPLY=()
                    return 0
                    ;;
                --proto)
                    COMPREPLY=()
                    return 0
                    ;;
                --proto-redir)
                    COMPREPLY=()
                    return 0
                    ;;
                --write-out)
                    COMPREPLY=()
                    return 0
                    ;;
                -w)
                    COMPREPLY=()
                    return 0
                    ;;
                --results)
                    COMPREPLY=()
                    return 0
                    ;;
                --failed)
                    COMPREPLY=()
                    return 0
                    ;;
                --progress)
                    COMPREPLY=($(compgen -W "auto bars plain off" -- "${cur}"))
                    return 0
                    ;;
                --color)
                    COMPREPLY=($(compgen -W "auto always never" -- "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=()
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _fetchmany -o nosort -o bashdefault -o default fetchmany
else
    complete -F _fetchmany -o bashdefault -o default fetchmany
fi
