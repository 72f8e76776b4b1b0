#!/usr/bin/env bash
# Checks what a script can check of the language rules in CONTRIBUTING.md: the width of lines,
# phrases that have a plainer form, and names that are images. Prints FILE:LINE and the rule.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files -z -- '*.rs' '*.md' '*.sh' '*.toml' '.ci/run' \
    ':!docs/charts' ':!ci/language.sh' ':!CHANGELOG.md' |
    xargs -0 perl -CSD -e '
    use strict; use warnings;
    my $bad = 0;
    # [what, where: "prose" or "code", pattern, what to write]
    my @rules = (
        ["prose", qr/\bis no (?!longer\b)/i,         "\"is not a\""],
        ["prose", qr/\bany ?more\b/i,                 "\"no longer\""],
        ["prose", qr/\b(?:how far (?:the|its) end|begins the end|the end may be|wait(?:s|ed)? for (?:the|its|their) end|races the end|its end begins|(?:the|its|their) beginning)\b/i,
            "the event: \"when it ends\", \"when draining begins\""],
        ["prose", qr/\bmeanwhile\b/i,                 "\"concurrently\", or say when"],
        ["prose", qr/\bsay(?=[.,)]|$)/i,              "\"e.g.\""],
        ["prose", qr/\b(?:whoever|whosoever)\b/i,     "a noun: \"the thread that\""],
        ["prose", qr/(?<!people )(?<!users )(?<!user )(?<!operator )(?<!operators )(?<!person )(?<!caller )(?<!callers )(?<!engineer )(?<!engineers )(?<!maintainer )(?<!maintainers )(?<!reader )(?<!readers )(?<!someone )(?<!somebody )(?<!developers )(?<!programmer )(?<!say )(?<!says )(?<!and )\bwhom?\b(?! it (?:is|was))/i,
            "a noun and \"that\": \"peers that connect late\""],
        ["code", qr/\b(?:\w*_)?(?:desks?|bells?|patience|hurry|deaf|crowds?|nobody)(?:_\w*)?\b/i,
            "the role in the algorithm, not an image"],
    );
    for my $file (@ARGV) {
        open my $in, "<", $file or die "$file: $!";
        my ($fence, $last) = (0, "");
        while (my $line = <$in>) {
            chomp $line;
            my ($code, $prose) = ($line, "");
            if ($file =~ /\.md$/) {
                $fence = !$fence if $line =~ /^\s*```/;
                ($code, $prose) = $fence ? ($line, "") : ("", $line);
                $prose =~ s/`[^`]*`//g;
            } elsif ($file =~ /\.rs$/) {
                if ($line =~ m{^(.*?)(?<!:)//[/!]?(.*)$}) {
                    ($code, $prose) = ($1, $2);
                    $prose =~ s/`[^`]*`//g;
                }
            } elsif ($line =~ /^(.*?)(?:^|\s)#(.*)$/) {
                ($code, $prose) = ($1, $2);
                $prose =~ s/`[^`]*`//g;
            }
            my $wide = $file =~ /\.md$/ ? $prose =~ /\S/ && $line !~ m{^\s*[|<]}
                : $line =~ ($file =~ /\.rs$/ ? qr{^\s*//} : qr{^\s*#});
            if ($wide && length $line > 100 && $line !~ m{https?://}) {
                print "$file:$.: over 100 columns\n";
                $bad++;
            }
            # A phrase may be split by the end of a line.
            my $split = $last;
            ($last) = $prose =~ /(\S+)\s*$/;
            $last //= "";
            $prose = "$split $prose" if $split =~ /^(?:is|any)$/i;
            for my $rule (@rules) {
                my ($where, $pattern, $cure) = @$rule;
                my $text = $where eq "prose" ? $prose : $code;
                $text =~ s/"(?:[^"\\]|\\.)*"//g if $where eq "code";
                if ($text =~ $pattern) {
                    print "$file:$.: \"$&\": write $cure\n";
                    $bad++;
                }
            }
        }
    }
    print "$bad places to reword\n" if $bad;
    exit($bad > 0);
'
