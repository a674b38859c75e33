# Less than 5 % of a disk is free
(column("percent_free") | tonumber? // 100) < 5
