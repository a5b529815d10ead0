#!/bin/sh
echo '{"c": [$b, "$b"]}' >result.json
