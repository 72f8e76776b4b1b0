#!/usr/bin/env bash
# Checks what a script can check of the language rules in CONTRIBUTING.md: the width of comments,
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
        my $fence = 0;
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
                    if (length $line > 100 && $line =~ m{^\s*//} && $line !~ m{https?://}) {
                        print "$file:$.: a comment of over 100 columns\n";
                        $bad++;
                    }
                }
            } elsif ($line =~ /^(.*?)(?:^|\s)#(.*)$/) {
                ($code, $prose) = ($1, $2);
                $prose =~ s/`[^`]*`//g;
            }
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
