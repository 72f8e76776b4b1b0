#!/usr/bin/env perl
# replace.pl FILE (FROM TO)...
#
# Replaces each FROM in the file by its TO. It is an error if a FROM doesn't occur exactly once: the
# scripts that take out a defence would break something else then, or nothing.
use strict;
use warnings;

my ($file, @pairs) = @ARGV;
open my $in, '<', $file or die "$file: $!\n";
my $text = do { local $/; <$in> };
while (my ($from, $to) = splice @pairs, 0, 2) {
    my $found = () = $text =~ /\Q$from\E/g;
    die "$file: found $found times, not once:\n$from\n" if $found != 1;
    $text =~ s/\Q$from\E/$to/;
}
open my $out, '>', $file or die "$file: $!\n";
print $out $text;
