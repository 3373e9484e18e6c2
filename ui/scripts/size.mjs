// What a browser loads before the first page shows, compressed: the budget is 120 kB.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET = 120_000;
const FIRST_PAGE = 'src/runs/Runs.svelte';

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));
const files = new Set();

function collect(key) {
    const entry = manifest[key];
    if (files.has(entry.file)) return;
    files.add(entry.file);
    for (const style of entry.css ?? []) files.add(style);
    for (const imported of entry.imports ?? []) collect(imported);
}

collect('index.html');
collect(FIRST_PAGE);
let total = gzipSync(readFileSync('dist/index.html')).length;
for (const file of [...files].sort()) {
    const size = gzipSync(readFileSync(`dist/${file}`), { level: 9 }).length;
    console.log(`${String(size).padStart(8)}  ${file}`);
    total += size;
}
console.log(`${String(total).padStart(8)}  bytes for the first page; at most ${BUDGET}`);
process.exit(total > BUDGET ? 1 : 0);
