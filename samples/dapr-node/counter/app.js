// An app without any SDK: routes that Dapr posts to, and requests to Dapr's API.
const http = require('node:http')

const dapr = process.env.DAPR_HTTP_ENDPOINT ?? `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}`

async function clicked (event) {
  const page = event.data.page
  const state = `${dapr}/v1.0/state/statestore`
  const found = await fetch(`${state}/${page}`)
  const count = found.status === 200 ? await found.json() : 0
  const saved = await fetch(state, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify([{ key: page, value: count + 1, etag: found.headers.get('etag') ?? undefined }])
  })
  if (!saved.ok) return { status: 'RETRY' } // somebody else was faster
  console.log(`${page} ${count + 1}`)
  return { status: 'SUCCESS' }
}

http.createServer(async (request, response) => {
  if (request.url === '/health') return response.writeHead(204).end()
  if (request.method !== 'POST' || request.url !== '/clicked') return response.writeHead(404).end()
  const parts = []
  for await (const part of request) parts.push(part)
  const answer = await clicked(JSON.parse(Buffer.concat(parts)))
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
}).listen(process.env.APP_PORT ?? 3000, '127.0.0.1')
