echo '{"c": $b}' >result.json
